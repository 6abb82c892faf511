"""Answers in the rows of a data set: a list, a pair, or the end of the conversation."""

from __future__ import annotations

from typing import Any, Final

from promptmill.cli.publish.layouts.plain import Row
from promptmill.cli.publish.layouts.turns import foreign_turns

ANSWERS: Final = "answers"
LISTS: Final = (ANSWERS, "completions", "generations", "responses")
"""The columns that hold a list of answers in promptmill's layout, UltraFeedback and others."""

GROUPS: Final = (
    ("response_1", "response_2"),
    ("response1", "response2"),
    ("chosen", "rejected"),
)
"""Groups of columns that together hold the answers to one prompt."""

MODELS: Final = ("generator", "model")


def take_answers(row: Row, fields: Row) -> tuple[Row, tuple[Any, ...]]:
    """Separate a row's answers, as turns of the assistant, from its other fields.

    Args:
        fields: the fields of a plain line, whose conversation may end with an answer.
    """
    fields = {name: value for name, value in fields.items() if name != ANSWERS}
    ending = _ending(fields)
    for name in LISTS:
        if isinstance(row.get(name), list):
            return fields, tuple(map(_turn, row[name]))
    for names in GROUPS:
        if row.keys() >= set(names):
            return fields, tuple(_turn(_last(row[name])) for name in names)
    return fields, ending


def model_of(row: Row) -> str | None:
    """Return the model that gave the answers, if the row names one."""
    found = (row[name] for name in MODELS if isinstance(row.get(name), str) and row[name])
    return next(found, None)


def _ending(fields: Row) -> tuple[Any, ...]:
    """Remove the last turn from the conversation and return it, if it is an answer."""
    messages = fields.get("messages")
    if not isinstance(messages, list) or len(messages) < 2:
        return ()
    last = messages[-1]
    if not isinstance(last, dict) or last.get("role") != "assistant":
        return ()
    fields["messages"] = messages[:-1]
    return (last,)


def _last(value: Any) -> Any:
    """Return the last turn of a conversation, which may repeat its prompt, or the value."""
    return value[-1] if isinstance(value, list) and value else value


def _turn(value: Any) -> Any:
    """Convert a text or a data set's turn to a turn of the assistant."""
    if isinstance(value, dict):
        text = next((value[name] for name in ("text", "response") if name in value), None)
        turn = value if text is None else {**value, "content": text}
        (cleaned,) = foreign_turns([{**turn, "role": "assistant"}])
        reason = value.get("finish_reason")
        return cleaned if reason is None else {**cleaned, "finish_reason": reason}
    return {"role": "assistant", "content": value}
