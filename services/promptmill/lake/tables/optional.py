"""The columns of optional fields, which most messages do not have.

Structs of existing tables cannot be extended, so there are separate columns for turns with fields
beside role and content and for answers with reasoning or calls. Values without a fixed schema are
JSON text. All these columns are null if the message does not have the field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
import pyarrow as pa

from promptmill_schemas import (
    Contract,
    FailedCandidate,
    GradedCandidate,
    Message,
    Prompt,
    Record,
    Reject,
    ToolCall,
)
from promptmill_schemas.base import parse_json

TEXT = pa.string()

OF_PROMPT: Final = [
    pa.field("messages_json", TEXT),
    pa.field("tools", TEXT),
    pa.field("chat_template_kwargs", TEXT),
    pa.field("reference", TEXT),
]
"""The columns of prompts, records and rejects.

``messages_json`` holds all turns with all fields, if a turn has more than a role and a content."""

LABELS: Final = [pa.field("category", TEXT), pa.field("licence", TEXT)]
"""The columns of prompts and rejects; records have flat columns instead."""

OF_ANSWERS: Final = [pa.field("candidate_extras", TEXT)]
"""A list with one object for each candidate: its reasoning, its calls and its reasoning tokens."""

OF_PAIR: Final = [
    pa.field("chosen_reasoning_content", TEXT),
    pa.field("rejected_reasoning_content", TEXT),
    pa.field("chosen_tool_calls", TEXT),
    pa.field("rejected_tool_calls", TEXT),
]

_EXTRAS: Final = ("reasoning_content", "tool_calls", "reasoning_tokens")
_JSON: Final = ("tools", "chat_template_kwargs", "extra_body", "reference")


def of_prompt(source: Prompt | Record | Reject) -> dict[str, str | None]:
    """Return the columns of :data:`OF_PROMPT` that are JSON text."""
    has_more = any(turn.extras() for turn in source.messages)
    return {
        "messages_json": as_json(source.messages) if has_more else None,
        "tools": as_json(source.tools),
        "chat_template_kwargs": as_json(source.chat_template_kwargs),
        "reference": as_json(source.reference),
    }


def of_answers(candidates: Sequence[GradedCandidate | FailedCandidate]) -> dict[str, str | None]:
    """Return the columns of :data:`OF_ANSWERS`."""
    extras = [
        {name: _plain(value) for name in _EXTRAS if (value := getattr(answer, name)) is not None}
        for answer in candidates
    ]
    return {"candidate_extras": as_json(extras) if any(extras) else None}


def of_pair(record: Record) -> dict[str, str | None]:
    """Return the columns of :data:`OF_PAIR` that are JSON text."""
    return {
        "chosen_tool_calls": as_json(record.chosen_tool_calls),
        "rejected_tool_calls": as_json(record.rejected_tool_calls),
    }


def as_json(value: Any) -> str | None:
    """Encode a value of a contract as JSON text; ``None`` stays ``None``."""
    return None if value is None else orjson.dumps(_plain(value)).decode()


def turns_of(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the turns of a stored conversation with all fields; empty if it is not stored."""
    text = row.get("messages_json")
    return list((row.get("messages") or ()) if text is None else parse_json(text.encode()))


def messages_of(row: Mapping[str, Any]) -> tuple[Message, ...]:
    """Return the conversation of a stored row."""
    return tuple(Message.model_validate(turn) for turn in turns_of(row))


def record_fields_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a record that are JSON text in its row, if present."""
    fields = _parsed(row, (*_JSON, "chosen_tool_calls", "rejected_tool_calls"))
    if row.get("messages_json") is not None:
        fields["messages"] = turns_of(row)
    candidates, extras = row.get("candidates"), row.get("candidate_extras")
    if candidates and extras is not None:
        pairs = zip(candidates, parse_json(extras.encode()), strict=True)
        fields["candidates"] = [{**answer, **extra} for answer, extra in pairs]
    return fields


def tools_of(row: Mapping[str, Any]) -> list[Any] | None:
    """Return the tools of a stored prompt."""
    return _parsed(row, ["tools"]).get("tools")


def calls_of(row: Mapping[str, Any]) -> list[tuple[ToolCall, ...] | None]:
    """Return the calls of the chosen and of the rejected answer of a stored pair."""
    names = ["chosen_tool_calls", "rejected_tool_calls"]
    found = _parsed(row, names)
    return [_calls(found[name]) if name in found else None for name in names]


def fields_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the optional fields of the prompt in a row of the table ``prompts``, if present."""
    plain = {name: row.get(name) for name in ("draw", "category", "licence")}
    return {name: value for name, value in plain.items() if value is not None} | _parsed(row, _JSON)


def _parsed(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    texts = {name: row.get(name) for name in names}
    return {name: parse_json(text.encode()) for name, text in texts.items() if text is not None}


def _calls(values: list[Any]) -> tuple[ToolCall, ...]:
    return tuple(ToolCall.model_validate(value) for value in values)


def _plain(value: Any) -> Any:
    if isinstance(value, Contract):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
