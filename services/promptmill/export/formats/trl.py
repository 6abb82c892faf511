"""The dataset types of TRL, which Unsloth shares.

Conversational rows hold lists of messages, to which the trainer applies the model's chat template.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from promptmill.export.formats.conversation import answer, conversation, prompt
from promptmill.export.formats.format import (
    ANY_KIND,
    FLAG,
    MESSAGES,
    REAL,
    Context,
    Row,
    TrainerFormat,
    columns,
)
from promptmill_schemas import Record


def sft(record: Record, _context: Context) -> Iterator[Row]:
    """Yield the whole conversation."""
    yield {"messages": conversation(record)}


def prompt_completion(record: Record, _context: Context) -> Iterator[Row]:
    """Yield the prompt and the answer separately, so that the loss covers only the answer."""
    yield {"prompt": prompt(record), "completion": [answer(record.chosen)]}


def dpo(record: Record, _context: Context) -> Iterator[Row]:
    """Yield a pair with an explicit prompt, as TRL recommends for DPO."""
    if record.rejected is not None:
        yield {
            "prompt": prompt(record),
            "chosen": [answer(record.chosen)],
            "rejected": [answer(record.rejected)],
        }


def reward(record: Record, _context: Context) -> Iterator[Row]:
    """Yield a pair of whole conversations with its margin, as TRL recommends for reward models."""
    if record.rejected is not None:
        yield {
            "chosen": conversation(record),
            "rejected": conversation(record, record.rejected),
            "margin": record.margin,
        }


def kto(record: Record, _context: Context) -> Iterator[Row]:
    """Yield answers with a label: accepted ones are desirable, the worse one of a pair is not."""
    yield {"prompt": prompt(record), "completion": [answer(record.chosen)], "label": True}
    if record.rejected is not None:
        yield {"prompt": prompt(record), "completion": [answer(record.rejected)], "label": False}


FORMATS: Final = (
    TrainerFormat(
        "trl-sft",
        "TRL",
        "supervised fine-tuning",
        ("sft",),
        columns(messages=MESSAGES),
        sft,
        "SFTTrainer(train_dataset=load_dataset(FOLDER, split='train'))",
    ),
    TrainerFormat(
        "trl-prompt-completion",
        "TRL",
        "supervised fine-tuning on the answer alone",
        ("sft",),
        columns(prompt=MESSAGES, completion=MESSAGES),
        prompt_completion,
        "SFTTrainer(train_dataset=load_dataset(FOLDER, split='train'))",
    ),
    TrainerFormat(
        "trl-dpo",
        "TRL",
        "direct preference optimisation",
        ("preference",),
        columns(prompt=MESSAGES, chosen=MESSAGES, rejected=MESSAGES),
        dpo,
        "DPOTrainer(train_dataset=load_dataset(FOLDER, split='train'))",
    ),
    TrainerFormat(
        "trl-reward",
        "TRL",
        "reward models",
        ("preference",),
        columns(chosen=MESSAGES, rejected=MESSAGES, margin=REAL),
        reward,
        "RewardTrainer(train_dataset=load_dataset(FOLDER, split='train'))",
    ),
    TrainerFormat(
        "trl-kto",
        "TRL",
        "Kahneman-Tversky optimisation",
        ANY_KIND,
        columns(prompt=MESSAGES, completion=MESSAGES, label=FLAG),
        kto,
        "KTOTrainer(train_dataset=load_dataset(FOLDER, split='train'))",
    ),
)
