"""Layouts whose rows hold one question, and possibly its choices and its answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from promptmill.cli.grading.rows import as_turns
from promptmill.cli.publish.layouts.choices import LastAnswer
from promptmill.cli.publish.layouts.conversations import asked, shared_fields
from promptmill.cli.publish.layouts.plain import Names, Row, answer_reference, column_of

FINAL_ANSWER: Final = "####"
"""The mark that GSM8K puts between the steps of a solution and its result."""

QUESTIONS: Final = ("question", "problem", "query")
SYSTEMS: Final = ("system_prompt", "system")
RESULTS: Final = ("expected_answer", "answer", "solution", "answers")
RESPONSES: Final = ("response", "chosen", "output", "generated_solution")
CHOICES: Final = ("choices", "options")
CORRECT: Final = ("answerKey", "answer_idx", "answer_index", "answer")


def alpaca(row: Row, policy: LastAnswer) -> tuple[Row, Names]:
    """Read ``instruction`` with ``input`` or ``context``, ``output`` and ``history``."""
    return asked(row, "instruction", _alpaca_turns(row), policy)


def magpie(row: Row, policy: LastAnswer) -> tuple[Row, Names]:
    """Read ``conversations``; ``instruction`` and ``response`` repeat its first turns."""
    column = column_of(row, "conversations", "instruction")
    turns = row[column]
    if column == "instruction":
        turns = _turns(turns, row.get("response"))
    return asked(row, column, turns, policy)


def gsm8k(row: Row, policy: LastAnswer) -> tuple[Row, Names]:
    """Read a question or problem with its solution; the result becomes the reference.

    The question may have a ``context``, ``choices`` and a system turn. A ``response`` is a given
    answer.
    """
    column = column_of(row, *QUESTIONS)
    choices = _choices(_first(row, CHOICES))
    question = _with_choices(_below_context(row[column], row.get("context")), choices)
    system = _first(row, SYSTEMS)
    response = _first(row, RESPONSES)
    if system or response:
        turns = [{"role": "system", "content": system}, *_turns(question, response)]
        fields, names = asked(row, column, turns, policy)
    else:
        fields, names = shared_fields(row)
        fields["prompt"], names["prompt"] = question, column
    reference = _choice_reference(row, choices) or answer_reference(_result(row))
    if reference is not None and "reference" not in row:
        fields["reference"] = reference
    return fields, names


def _first(row: Row, names: tuple[str, ...]) -> Any:
    return next((row[name] for name in names if name in row), None)


def _below_context(question: Any, context: Any) -> Any:
    is_given = isinstance(question, str) and isinstance(context, str) and context.strip()
    return f"{context}\n\n{question}" if is_given else question


def _result(row: Row) -> Any:
    answer = _first(row, RESULTS)
    if isinstance(answer, dict) and isinstance(answer.get("text"), list):
        # SQuAD has the same answer from several annotators.
        answer = next(iter(answer["text"]), None)
    return answer.rpartition(FINAL_ANSWER)[2].strip() if isinstance(answer, str) else answer


def _choices(given: Any) -> dict[str, str]:
    """Return the choices by their labels, which are letters if the row has none."""
    if isinstance(given, dict) and isinstance(given.get("text"), list):
        found = dict(zip(given.get("label") or (), given["text"], strict=False))
    elif isinstance(given, dict):
        found = given
    else:
        texts = given if isinstance(given, list) else []
        found = {chr(ord("A") + at): text for at, text in enumerate(texts[:26])}
        if len(found) < len(texts):
            return {}
    return found if all(isinstance(t, str) for t in (*found, *found.values())) else {}


def _with_choices(question: Any, choices: Mapping[str, str]) -> Any:
    """Return the question with its choices below it, unless it already lists them."""
    if not isinstance(question, str) or not choices:
        return question
    lines = [
        text if re.match(rf"\(?{re.escape(label)}[).:]", text) else f"{label}. {text}"
        for label, text in choices.items()
    ]
    has_them = all(
        re.search(rf"{re.escape(label)}[).:]*\s*{re.escape(text)}", question)
        for label, text in choices.items()
    )
    return question if has_them else "\n".join([f"{question}\n", *lines])


def _choice_reference(row: Row, choices: Mapping[str, str]) -> Row | None:
    for name in CORRECT if choices else ():
        label = _label_of(row.get(name), choices)
        if label is not None:
            return {"kind": "choice", "choice": label, "choices": list(choices.values())}
    return None


def _label_of(answer: Any, choices: Mapping[str, str]) -> str | None:
    """Return the label of a choice that is given by its label, its index from 0, or its text."""
    if isinstance(answer, str):
        text = answer.strip()
        named = (
            label for label, choice in choices.items() if text in {label, label.lower(), choice}
        )
        found = next(named, None)
        if found is not None or not text.isdecimal():
            return found
        answer = int(text)
    is_place = isinstance(answer, int) and not isinstance(answer, bool)
    return list(choices)[answer] if is_place and 0 <= answer < len(choices) else None


def helpsteer(row: Row, policy: LastAnswer) -> tuple[Row, Names]:
    """Read ``prompt`` or ``context``, and the response, or the preferred one of a pair."""
    column = column_of(row, "context", "prompt")
    turns: Any = as_turns(row[column])
    response = _preferred(row)
    if isinstance(turns, list) and isinstance(response, str):
        turns = [*turns, {"role": "assistant", "content": response}]
    fields, names = asked(row, column, turns, policy)
    if isinstance(row.get("domain"), str) and row["domain"]:
        fields.setdefault("category", row["domain"])
    return fields, names


def _preferred(row: Row) -> Any:
    """Return the response, or the better of two: a negative preference means the first."""
    if "response" in row:
        return row["response"]
    strength = row.get("preference_strength", row.get("overall_preference", 0))
    is_second = isinstance(strength, int | float) and strength > 0
    names = ("response_2", "response2") if is_second else ("response_1", "response1")
    return next((row[name] for name in names if name in row), None)


def _alpaca_turns(row: Row) -> list[Any]:
    question = row[column_of(row, "instruction")]
    more = _first(row, ("input", "context"))
    if isinstance(question, str) and isinstance(more, str) and more.strip():
        question = f"{question}\n\n{more}" if question else more
    turns = _turns(question, row.get("output", row.get("response")))
    for pair in reversed(row.get("history") or []):
        if isinstance(pair, list) and len(pair) == 2:
            turns = [*_turns(*pair), *turns]
    return [{"role": "system", "content": row.get("system")}, *turns]


def _turns(question: Any, answer: Any) -> list[Any]:
    turns = [{"role": "user", "content": question}]
    return [*turns, {"role": "assistant", "content": answer}] if answer else turns
