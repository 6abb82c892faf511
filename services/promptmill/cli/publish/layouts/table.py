"""The table of all layouts: how to recognise and read a row, and which columns are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final

from promptmill.cli.publish.layouts import conversations, questions
from promptmill.cli.publish.layouts.choices import LastAnswer
from promptmill.cli.publish.layouts.openai_batch import (
    FRAME,
    PASSED_ON,
    SIMPLE,
    WITHOUT_EFFECT,
    is_batch,
)
from promptmill.cli.publish.layouts.plain import FIELDS, OPTIONS, Names, Row
from promptmill.cli.publish.layouts.turns import foreign_turns
from promptmill_schemas import ATTRIBUTES

Read = Callable[[Row, LastAnswer], tuple[Row, Names]]

PLAIN: Final = "plain"
BATCH: Final = "openai-batch"
SHARED: Final = OPTIONS | {*conversations.OWN_IDS, conversations.LICENCE}


@dataclass(frozen=True, slots=True)
class RowLayout:
    """One layout of rows.

    Attributes:
        matches: returns whether a row, without its nulls, has this layout.
        read: returns the fields of a plain line, and their names in the row.
        columns: the columns that are read, or that only repeat others; the rest are unknown.
    """

    name: str
    matches: Callable[[Row], bool]
    read: Read
    columns: frozenset[str] = field(default=frozenset())

    def unknown(self, row: Row) -> list[str]:
        """Return the columns of a row that have no meaning in this layout."""
        return [name for name in row if name not in self.columns and name not in SHARED]


NEMOTRON_MARKS: Final = {"uuid", "license", "generator", "version", "reasoning", "used_in_training"}
TRL_MARKS: Final = {
    *("completion", "chosen", "rejected", "solution", "ground_truth", "answer", "label"),
    *("data_source", "reward_model", "ability", "extra_info", "reward_spec", "env_class"),
    *("instruction_id_list",),
}
HARMLESS: Final = {
    *("source", "dataset", "split", "language", "lang", "model", "domain", "difficulty", "subset"),
    *("score", "score_chosen", "score_rejected", "data_source", "ability", "turns", "num_turns"),
    *("meta", "metadata", "image", "images"),
}
"""Columns that describe the origin of a conversation and can be ignored."""

ANSWERS: Final = {*questions.RESULTS, *questions.RESPONSES, *questions.CORRECT}
REQUEST_FIELDS: Final = {*SIMPLE, *PASSED_ON, *WITHOUT_EFFECT, "functions", "function_call"}


def _is_text(row: Row, *names: str) -> bool:
    return all(isinstance(row.get(name), str) for name in names)


def _is_list(row: Row, *names: str) -> bool:
    return all(isinstance(row.get(name), list) for name in names)


def _has_any(row: Row, names: set[str]) -> bool:
    return not row.keys().isdisjoint(names)


def _is_helpsteer(row: Row) -> bool:
    if "prompt" in row and "response" in row:
        return _has_any(row, {*ATTRIBUTES})
    return {"prompt", "response_1", "response_2"} <= row.keys() or {
        *("context", "response1", "response2")
    } <= row.keys()


def _is_ultrachat(row: Row) -> bool:
    """Return whether ``prompt`` repeats the first turn, because another one would contradict it."""
    if not _is_text(row, "prompt") or not _is_list(row, "messages"):
        return False
    turns = foreign_turns(row["messages"])
    asked = (t.get("content") for t in turns if isinstance(t, dict) and t.get("role") == "user")
    first = next(asked, None)
    return isinstance(first, str) and first.strip() == row["prompt"].strip()


def _is_nemotron(row: Row) -> bool:
    has_turns = _is_list(row, "messages") or {"input", "output"} <= row.keys()
    return has_turns and "prompt" not in row and _has_any(row, NEMOTRON_MARKS)


def _is_trl(row: Row) -> bool:
    if "prompt" in row:
        return _is_list(row, "prompt") or _has_any(row, TRL_MARKS)
    if "messages" not in row:
        return _is_list(row, "chosen", "rejected")
    others = row.keys() - {"messages"} - SHARED
    return bool(others) and not any(map(_is_an_option, others - HARMLESS - TRL_MARKS))


def _is_an_option(name: str) -> bool:
    """Return whether a column asks for something, or may be one of ours with a slip of the pen."""
    return name in REQUEST_FIELDS or bool(get_close_matches(name, FIELDS, n=1, cutoff=0.75))


def _is_question(row: Row) -> bool:
    is_asked = any(_is_text(row, name) for name in questions.QUESTIONS)
    return is_asked and "prompt" not in row and _has_any(row, {*ANSWERS, *questions.CHOICES})


def _plain(row: Row, _policy: LastAnswer) -> tuple[Row, Names]:
    return row, {}


LAYOUTS: Final = {
    layout.name: layout
    for layout in (
        RowLayout(BATCH, is_batch, _plain, FRAME),
        RowLayout(
            "magpie",
            lambda row: _is_list(row, "conversations") and "instruction" in row,
            questions.magpie,
            frozenset({"conversations", "instruction", "response"}),
        ),
        RowLayout(
            "sharegpt",
            lambda row: _is_list(row, "conversations") or _is_list(row, "conversation"),
            conversations.sharegpt,
            frozenset({"conversations", "conversation", "system"}),
        ),
        RowLayout(
            "helpsteer",
            _is_helpsteer,
            questions.helpsteer,
            frozenset(
                {*("prompt", "context", "response", "response_1", "response_2"), "domain"}
                | {*("response1", "response2", "preference_strength", "overall_preference")}
            ),
        ),
        RowLayout(
            "ultrachat",
            _is_ultrachat,
            conversations.messages,
            frozenset({"prompt", "messages"}),
        ),
        RowLayout(
            "nemotron",
            _is_nemotron,
            conversations.nemotron,
            frozenset(
                {*("messages", "input", "output", "system_prompt", "reasoning")}
                | {*conversations.TRUTHS}
            ),
        ),
        RowLayout(
            "nemo-gym",
            lambda row: isinstance(row.get("responses_create_params"), dict),
            conversations.nemo_gym,
            frozenset(
                {*("responses_create_params", "unit_tests", "instruction_id_list", "kwargs")}
                | {*conversations.TRUTHS, "prompt"}
            ),
        ),
        RowLayout(
            "trl",
            _is_trl,
            conversations.trl,
            frozenset(
                {*("prompt", "messages", "completion", "chosen", "label"), "reward_model"}
                | {*("reward_spec", "instruction_id_list", "kwargs"), *conversations.TRUTHS}
            ),
        ),
        RowLayout(
            "alpaca",
            lambda row: "instruction" in row,
            questions.alpaca,
            frozenset(
                {*("instruction", "input", "context", "output", "response", "system", "history")}
            ),
        ),
        RowLayout(
            "gsm8k",
            _is_question,
            questions.gsm8k,
            frozenset(
                {*questions.QUESTIONS, *questions.SYSTEMS, *ANSWERS, *questions.CHOICES, "context"}
            ),
        ),
        RowLayout(PLAIN, lambda row: "prompt" in row or "messages" in row, _plain, FIELDS),
    )
}
"""All layouts by name, in the order in which a row is compared with them."""


def layout_of(row: Row) -> RowLayout | None:
    """Return the first layout that matches the row, or ``None``."""
    return next((layout for layout in LAYOUTS.values() if layout.matches(row)), None)
