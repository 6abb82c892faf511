"""Flat columns of a record, for trainers that read the table itself and for published data sets.

A trainer that maps string columns (``prompt``, ``system``, ``response``; or ``prompt``,
``chosen``, ``rejected``) needs no export. The other columns have the names and meanings of
published post-training sets: ``uuid``, ``license``, ``generator``, ``version``, ``category`` and
``reasoning``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import pyarrow as pa

from promptmill.lake.tables.columns import TEXT
from promptmill_schemas import Message, Record

COLUMNS: Final = [
    pa.field("uuid", TEXT),
    pa.field("prompt", TEXT),
    pa.field("system", TEXT),
    pa.field("response", TEXT),
    pa.field("license", TEXT),
    pa.field("generator", TEXT),
    pa.field("version", TEXT),
    pa.field("category", TEXT),
    pa.field("reasoning", TEXT),
]

_LICENSE_TAGS = ("license", "licence")
_CATEGORY_TAGS = ("category", "domain")
_SYSTEM = ("system", "developer")
_THINKING = "<think>"


def flat(record: Record) -> dict[str, str | None]:
    """Return the values of :data:`COLUMNS`.

    ``system`` is empty without a turn of the system or the developer. ``license`` and ``category``
    are those of the prompt or of its tags, ``version`` is a tag, and all three may be null.
    ``reasoning`` is ``on`` if the answer came with its reasoning, else ``off``.
    """
    asked = record.messages[:-1] if record.kind == "sft" else record.messages
    return {
        "uuid": str(UUID(record.record_id)),
        "prompt": as_text([turn for turn in asked if turn.role not in _SYSTEM]),
        "system": "\n\n".join(turn.content for turn in asked if turn.role in _SYSTEM),
        "response": record.chosen,
        "license": record.licence or _first(record, _LICENSE_TAGS),
        "generator": record.generator.model,
        "version": record.tags.get("version"),
        "category": record.category or _first(record, _CATEGORY_TAGS),
        "reasoning": "on" if _has_reasoning(record) else "off",
    }


def as_text(turns: Sequence[Message]) -> str:
    """Return the turns before an answer as one text.

    For a single turn, the text is its content. Otherwise, each turn begins with its role, and an
    empty line separates the turns, so that no context is lost.
    """
    if len(turns) == 1:
        return turns[0].content
    return "\n\n".join(f"{turn.role.capitalize()}: {turn.content}" for turn in turns)


def _has_reasoning(record: Record) -> bool:
    """Return whether the answer includes its reasoning, in a field or inline."""
    last = record.messages[-1] if record.kind == "sft" else None
    apart = record.chosen_reasoning_content if last is None else last.reasoning_content
    return bool(apart) or record.chosen.lstrip().startswith(_THINKING)


def _first(record: Record, tags: Sequence[str]) -> str | None:
    return next((record.tags[tag] for tag in tags if tag in record.tags), None)
