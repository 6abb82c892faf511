"""Layouts whose rows hold one question, and perhaps its answer."""

from __future__ import annotations

from typing import Any, Final

from promptmill.cli.grading.rows import as_turns
from promptmill.cli.publish.layouts.choices import LastAnswer
from promptmill.cli.publish.layouts.conversations import asked, shared_fields
from promptmill.cli.publish.layouts.plain import Names, Row, answer_reference

FINAL_ANSWER: Final = "####"
"""What GSM8K writes between the steps of a solution and its result."""


def alpaca(row: Row, policy: LastAnswer) -> tuple[Row, Names]:
    """``instruction`` with ``input`` below it, ``output``, and ``system`` and ``history``."""
    return asked(row, "instruction", _alpaca_turns(row), policy)


def magpie(row: Row, policy: LastAnswer) -> tuple[Row, Names]:
    """``conversations``, of which ``instruction`` and ``response`` repeat the first turns."""
    if "conversations" in row:
        return asked(row, "conversations", row["conversations"], policy)
    return asked(row, "instruction", _turns(row["instruction"], row.get("response")), policy)


def gsm8k(row: Row, _policy: LastAnswer) -> tuple[Row, Names]:
    """``question`` and ``answer``, or ``problem`` and ``solution``; the result is the reference."""
    column = "question" if "question" in row else "problem"
    fields, names = shared_fields(row)
    fields["prompt"], names["prompt"] = row[column], column
    answer = row.get("answer", row.get("solution"))
    if isinstance(answer, str):
        answer = answer.rpartition(FINAL_ANSWER)[2].strip()
    reference = answer_reference(answer)
    if reference is not None:
        fields.setdefault("reference", reference)
    return fields, names


def helpsteer(row: Row, policy: LastAnswer) -> tuple[Row, Names]:
    """``prompt`` or ``context``, and responses; of a pair the preferred one is the answer."""
    column = "context" if "context" in row else "prompt"
    turns: Any = as_turns(row[column])
    response = _preferred(row)
    if isinstance(turns, list) and isinstance(response, str):
        turns = [*turns, {"role": "assistant", "content": response}]
    fields, names = asked(row, column, turns, policy)
    if isinstance(row.get("domain"), str) and row["domain"]:
        fields.setdefault("category", row["domain"])
    return fields, names


def _preferred(row: Row) -> Any:
    """The response, or of two the better one: HelpSteer counts below 0 for the first."""
    if "response" in row:
        return row["response"]
    strength = row.get("preference_strength", row.get("overall_preference", 0))
    is_second = isinstance(strength, int | float) and strength > 0
    names = ("response_2", "response2") if is_second else ("response_1", "response1")
    return next((row[name] for name in names if name in row), None)


def _alpaca_turns(row: Row) -> list[Any]:
    question = row["instruction"]
    if isinstance(question, str) and isinstance(row.get("input"), str) and row["input"].strip():
        question = f"{question}\n\n{row['input']}" if question else row["input"]
    turns = _turns(question, row.get("output", row.get("response")))
    for pair in reversed(row.get("history") or []):
        if isinstance(pair, list) and len(pair) == 2:
            turns = [*_turns(*pair), *turns]
    return [{"role": "system", "content": row.get("system")}, *turns]


def _turns(question: Any, answer: Any) -> list[Any]:
    turns = [{"role": "user", "content": question}]
    return [*turns, {"role": "assistant", "content": answer}] if answer else turns
