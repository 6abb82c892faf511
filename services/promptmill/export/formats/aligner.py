"""NeMo Aligner, the predecessor of NeMo RL, which reads texts in Nemotron's chat template."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pyarrow as pa

from promptmill.export.formats.conversation import (
    LABEL,
    TURN,
    asked,
    dialogue,
    graded_answers,
    nemotron_prompt,
    system_text,
    whole_scores,
)
from promptmill.export.formats.format import (
    ANY_KIND,
    JSON_LINES,
    REAL,
    TEXT,
    Context,
    Row,
    TrainerFormat,
    columns,
)
from promptmill_schemas import AttributeScores, Record

UNKNOWN: Final = -100.0
"""The label of an attribute that has no score; the loss ignores it."""

HEADS: Final = (
    *("quality", "toxicity", "humor", "creativity"),
    *("helpfulness", "correctness", "coherence", "complexity", "verbosity"),
)
"""The nine heads of Nemotron-4-340B-Reward, in their order."""

_SPEAKERS: Final = {"user": "User", "assistant": "Assistant"}
TURNS: Final = pa.list_(pa.struct([("value", TEXT), ("from", TEXT), ("label", TEXT)]))


def sft(record: Record, _context: Context) -> Iterator[Row]:
    """Yield the templated conversation up to the answer, and the answer."""
    yield {"input": nemotron_prompt(asked(record)), "output": record.chosen}


def steerlm(record: Record, _context: Context) -> Iterator[Row]:
    """Yield the conversation with the rounded scores of its last answer as a label."""
    said = [
        {"value": message.content, "from": _SPEAKERS[message.role], "label": None}
        for message in dialogue(asked(record))
    ]
    scored = {"value": record.chosen, "from": "Assistant", "label": _label(record.scores)}
    yield {
        "conversations": [*said, scored],
        "system": system_text(record.messages),
        "mask": "User",
        "type": "VALUE_TO_TEXT",
    }


def regression(record: Record, _context: Context) -> Iterator[Row]:
    """Yield every graded answer with nine labels, of which the first four are unknown."""
    for text, scores in graded_answers(record):
        label = [float(getattr(scores, head, UNKNOWN)) for head in HEADS]
        yield {"text": _judged(record, text), "label": label}


def pairwise(record: Record, _context: Context) -> Iterator[Row]:
    """Yield the better answer and then the worse one, in two rows that must stay adjacent."""
    if record.rejected is not None:
        yield {"text": _judged(record, record.chosen)}
        yield {"text": _judged(record, record.rejected)}


def dpo(record: Record, _context: Context) -> Iterator[Row]:
    """Yield a templated pair with the rewards that RPO uses."""
    if record.rejected is not None:
        yield {
            "prompt": nemotron_prompt(asked(record)),
            "chosen_response": f"{record.chosen}\n{TURN}",
            "rejected_response": f"{record.rejected}\n{TURN}",
            "chosen_reward": record.reward,
            "rejected_reward": record.rejected_reward,
        }


def _label(scores: AttributeScores) -> str:
    return ",".join(f"{name}:{score}" for name, score in whole_scores(scores).items())


def _judged(record: Record, text: str) -> str:
    return f"{nemotron_prompt(asked(record))}{text}\n{LABEL}"


FORMATS: Final = (
    TrainerFormat(
        "aligner-sft",
        "NeMo Aligner",
        "supervised fine-tuning",
        ("sft",),
        columns(input=TEXT, output=TEXT),
        sft,
        "model.data.train_ds.file_path=FILE model.data.train_ds.prompt_template='{input}{output}'",
        files=JSON_LINES,
        legacy=True,
    ),
    TrainerFormat(
        "aligner-steerlm",
        "NeMo Aligner",
        "attribute-conditioned fine-tuning",
        ("sft",),
        columns(conversations=TURNS, system=TEXT, mask=TEXT, type=TEXT),
        steerlm,
        "model.data.chat=True model.data.train_ds.file_path=FILE",
        files=JSON_LINES,
        legacy=True,
    ),
    TrainerFormat(
        "aligner-regression",
        "NeMo Aligner",
        "regression reward models",
        ANY_KIND,
        columns(text=TEXT, label=pa.list_(REAL)),
        regression,
        "reward_model_type=regression model.data.data_prefix.train=[FILE]",
        files=JSON_LINES,
        reads_candidates=True,
        legacy=True,
    ),
    TrainerFormat(
        "aligner-pairwise",
        "NeMo Aligner",
        "pairwise reward models",
        ("preference",),
        columns(text=TEXT),
        pairwise,
        "reward_model_type=binary_ranking model.data.data_prefix.train=[FILE]",
        files=JSON_LINES,
        legacy=True,
    ),
    TrainerFormat(
        "aligner-dpo",
        "NeMo Aligner",
        "DPO and RPO",
        ("preference",),
        columns(
            prompt=TEXT,
            chosen_response=TEXT,
            rejected_response=TEXT,
            chosen_reward=REAL,
            rejected_reward=REAL,
        ),
        dpo,
        "model.data.data_prefix.train=[FILE]",
        files=JSON_LINES,
        legacy=True,
    ),
)
