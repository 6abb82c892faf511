"""Layouts whose rows hold a conversation."""

from __future__ import annotations

from typing import Any, Final

import orjson

from promptmill.cli.publish.layouts.choices import LastAnswer
from promptmill.cli.publish.layouts.plain import OPTIONS, Names, Row, answer_reference
from promptmill.cli.publish.layouts.turns import foreign_turns, split_answer

OWN_IDS: Final = ("custom_id", "id", "uuid", "prompt_id", "conversation_id", "conversation_hash")
TRUTHS: Final = ("solution", "ground_truth", "answer")
LICENCE: Final = "license"


def shared_fields(row: Row) -> tuple[Row, Names]:
    """What columns mean in every layout: our own options, an id of the row, its licence."""
    fields: Row = {name: row[name] for name in OPTIONS if row.get(name) is not None}
    names: Names = {}
    if isinstance(fields.get("tools"), str):
        fields["tools"] = _parsed(fields["tools"])
    if "licence" not in fields and isinstance(row.get(LICENCE), str):
        fields["licence"], names["licence"] = row[LICENCE], LICENCE
    for name in OWN_IDS:
        if type(row.get(name)) is int or (isinstance(row.get(name), str) and row[name]):
            fields["custom_id"], names["custom_id"] = row[name], name
            break
    return fields, names


def asked(row: Row, column: str, turns: Any, policy: LastAnswer) -> tuple[Row, Names]:
    """A row whose conversation is in this column; what was answered at its end is a reference."""
    fields, names = shared_fields(row)
    fields["messages"], answer = split_answer(foreign_turns(turns), policy)
    names["messages"] = column
    if answer is not None:
        fields.setdefault("reference", answer)
    return fields, names


def sharegpt(row: Row, policy: LastAnswer) -> tuple[Row, Names]:
    """``conversations`` of ``{"from", "value"}``, with ``system`` and ``tools`` beside it."""
    column = "conversations" if "conversations" in row else "conversation"
    turns = row[column]
    if isinstance(row.get("system"), str) and isinstance(turns, list):
        turns = [{"role": "system", "content": row["system"]}, *turns]
    return asked(row, column, turns, policy)


def messages(row: Row, policy: LastAnswer) -> tuple[Row, Names]:
    """``messages``; a ``prompt`` beside it only repeats the first of them."""
    return asked(row, "messages", row["messages"], policy)


def nemotron(row: Row, policy: LastAnswer) -> tuple[Row, Names]:
    """``messages``, or ``input`` and ``output``; ``reasoning`` is kept as a tag."""
    column = "messages" if "messages" in row else "input"
    turns = _as_turns(row[column])
    if isinstance(row.get("system_prompt"), str) and isinstance(turns, list):
        turns = [{"role": "system", "content": row["system_prompt"]}, *turns]
    if column == "input" and isinstance(row.get("output"), str) and isinstance(turns, list):
        turns = [*turns, {"role": "assistant", "content": row["output"]}]
    fields, names = asked(row, column, turns, policy)
    if isinstance(row.get("reasoning"), str):
        fields["tags"] = {"reasoning": row["reasoning"], **(fields.get("tags") or {})}
    return fields, names


def trl(row: Row, policy: LastAnswer) -> tuple[Row, Names]:
    """``prompt`` as text or turns, or ``messages``, or only ``chosen`` with its prompt inside.

    A ground truth (``solution``, ``ground_truth``) comes before a given answer.
    """
    column = next(name for name in ("prompt", "messages", "chosen") if name in row)
    turns = _as_turns(row[column])
    for name in ("completion", "chosen"):
        if name != column and isinstance(turns, list) and name in row:
            turns = [*turns, *_answer_turns(row[name])]
            break
    fields, names = asked(row, column, turns, policy)
    truth = _truth(row)
    if truth is not None and "reference" not in row:
        fields["reference"] = truth
    return fields, names


def _truth(row: Row) -> Row | None:
    for name in TRUTHS:
        if row.get(name) is not None:
            return answer_reference(row[name])
    model = row.get("reward_model")
    return answer_reference(model.get("ground_truth")) if isinstance(model, dict) else None


def _as_turns(value: Any) -> Any:
    return [{"role": "user", "content": value}] if isinstance(value, str) else value


def _answer_turns(value: Any) -> list[Any]:
    """The last turn of an answer, which may repeat the whole conversation before it."""
    if isinstance(value, str):
        return [{"role": "assistant", "content": value}]
    return value[-1:] if isinstance(value, list) else []


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text) if text.strip() else None
    except orjson.JSONDecodeError:
        return text
