"""The columns of HelpSteer2 and HelpSteer3, for trainers that read these data sets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from promptmill.export.formats.conversation import (
    SYSTEM,
    TURN,
    asked,
    dialogue,
    graded_answers,
    prompt,
    system_text,
    whole_scores,
)
from promptmill.export.formats.format import (
    ANY_KIND,
    INT,
    MESSAGES,
    TEXT,
    Context,
    Row,
    TrainerFormat,
    columns,
)
from promptmill_schemas import ATTRIBUTES, Record

STRONGEST: Final = 3
"""The strongest preference; strengths range from -3 to 3, and no pair is a tie."""

_SPEAKERS: Final = {"user": "User", "assistant": "Assistant"}


def attributes(record: Record, _context: Context) -> Iterator[Row]:
    """Yield every graded answer with its scores, rounded to 0 to 4."""
    for text, scores in graded_answers(record):
        yield {"prompt": flat_prompt(record), "response": text, **whole_scores(scores)}


def preference2(record: Record, context: Context) -> Iterator[Row]:
    """Yield a pair in HelpSteer2's columns."""
    if (pair := _ordered(record)) is not None:
        first, second, strength = pair
        yield {
            "prompt": flat_prompt(record),
            "response_1": first,
            "response_2": second,
            "preference_strength": strength,
            "split": "val" if context.split == "validation" else context.split,
        }


def preference3(record: Record, _context: Context) -> Iterator[Row]:
    """Yield a pair in HelpSteer3's columns."""
    if (pair := _ordered(record)) is not None:
        first, second, strength = pair
        yield {
            "domain": record.tags.get("domain", "general"),
            "language": record.tags.get("language", "english"),
            "context": prompt(record),
            "response1": first,
            "response2": second,
            "overall_preference": strength,
        }


def flat_prompt(record: Record) -> str:
    """Return the prompt as one text; later turns follow HelpSteer2's special tokens."""
    messages = asked(record)
    first, *rest = dialogue(messages) or messages
    text = first.content + "".join(f"\n{TURN}{_SPEAKERS[m.role]}\n{m.content}" for m in rest)
    system = system_text(messages)
    return f"{SYSTEM}System\n{system}\n{TURN}User\n{text}" if system else text


def _ordered(record: Record) -> tuple[str, str, int] | None:
    """Return two answers and the strength; a negative strength prefers the first answer.

    The record's id decides which answer is first. The better one is first in about half of the
    records, so that no trainer can learn its position.
    """
    if record.rejected is None or record.margin is None:
        return None
    strength = min(STRONGEST, max(1, round(record.margin)))
    if int(record.record_id[-1], 16) % 2:
        return record.rejected, record.chosen, strength
    return record.chosen, record.rejected, -strength


FORMATS: Final = (
    TrainerFormat(
        "helpsteer2",
        "HelpSteer2",
        "scores of the five attributes",
        ANY_KIND,
        columns(prompt=TEXT, response=TEXT, **dict.fromkeys(ATTRIBUTES, INT)),
        attributes,
        "load_dataset(FOLDER)",
        reads_candidates=True,
    ),
    TrainerFormat(
        "helpsteer2-preference",
        "HelpSteer2",
        "preferences",
        ("preference",),
        columns(prompt=TEXT, response_1=TEXT, response_2=TEXT, preference_strength=INT, split=TEXT),
        preference2,
        "load_dataset(FOLDER)",
    ),
    TrainerFormat(
        "helpsteer3-preference",
        "HelpSteer3",
        "preferences",
        ("preference",),
        columns(
            domain=TEXT,
            language=TEXT,
            context=MESSAGES,
            response1=TEXT,
            response2=TEXT,
            overall_preference=INT,
        ),
        preference3,
        "load_dataset(FOLDER)",
    ),
)
