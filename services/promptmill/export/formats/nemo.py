"""The formats of NeMo RL and NeMo Automodel.

NeMo RL adds a column ``task_name`` itself and refuses rows that have one, so none is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pyarrow as pa

from promptmill.export.formats import trl
from promptmill.export.formats.conversation import answer, prompt
from promptmill.export.formats.format import (
    INT,
    MESSAGES,
    TEXT,
    Context,
    Row,
    TrainerFormat,
    columns,
)
from promptmill_schemas import Record

COMPLETIONS: Final = pa.list_(pa.struct([("rank", INT), ("completion", MESSAGES)]))


def preference(record: Record, _context: Context) -> Iterator[Row]:
    """Yield two ranked completions; the lower rank is the better one."""
    if record.rejected is not None:
        ranked = enumerate((record.chosen, record.rejected))
        yield {
            "context": prompt(record),
            "completions": [{"rank": rank, "completion": [answer(text)]} for rank, text in ranked],
        }


def binary_preference(record: Record, _context: Context) -> Iterator[Row]:
    """Yield a pair whose answers are texts, which the loader converts to assistant messages."""
    if record.rejected is not None:
        yield {
            "prompt": prompt(record),
            "chosen": record.chosen,
            "rejected": record.rejected,
        }


FORMATS: Final = (
    TrainerFormat(
        "nemo-rl-sft",
        "NeMo RL",
        "supervised fine-tuning",
        ("sft",),
        columns(messages=MESSAGES),
        trl.sft,
        "data.train.dataset_name=openai_format data.train.data_path=FILE",
    ),
    TrainerFormat(
        "nemo-rl-preference",
        "NeMo RL",
        "DPO and reward models",
        ("preference",),
        columns(context=MESSAGES, completions=COMPLETIONS),
        preference,
        "data.train.dataset_name=PreferenceDataset data.train.data_path=FILE",
    ),
    TrainerFormat(
        "nemo-rl-binary-preference",
        "NeMo RL",
        "DPO and reward models",
        ("preference",),
        columns(prompt=MESSAGES, chosen=TEXT, rejected=TEXT),
        binary_preference,
        "data.train.dataset_name=BinaryPreferenceDataset data.train.data_path=FILE "
        "data.train.prompt_key=prompt",
    ),
    TrainerFormat(
        "nemo-automodel",
        "NeMo Automodel",
        "supervised fine-tuning",
        ("sft",),
        columns(messages=MESSAGES),
        trl.sft,
        "dataset._target_: nemo_automodel.components.datasets.llm.ChatDataset",
    ),
)
