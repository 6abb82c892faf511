"""The check of an answer against the ground truth."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from functools import cache

from promptmill_demo.tasks.catalogue import kind_named
from promptmill_demo.tasks.words import contains, fluent, without, words_of


class Finding(Enum):
    """The kind of answer that a text gives to a task."""

    RIGHT = "right"
    HEDGED = "hedged"
    WRONG = "wrong"
    NOTHING = "nothing"


def is_correct(answer_text: str, tags: Mapping[str, str]) -> bool:
    """Return whether the text gives the right answer, and no other.

    Args:
        answer_text: the text of the answer.
        tags: the tags of the task; see :attr:`~promptmill_demo.tasks.task.Task.tags`.

    Raises:
        KeyError: the tags are not those of a task.
    """
    return find_answer(answer_text, tags) is Finding.RIGHT


def find_answer(text: str, tags: Mapping[str, str]) -> Finding:
    """Classify the answer in a text; the question's own words and fillers are ignored."""
    answer, words = words_of(tags["answer"]), fluent(words_of(text))
    subject = words_of(tags["subject"])
    if not contains(subject, answer) or tags["kind"] in _RESTATED:
        words = without(words, subject)
    right = contains(words, answer)
    others = any(contains(words, other) for other in _others(tags["kind"], tags["answer"]))
    if right:
        return Finding.HEDGED if others else Finding.RIGHT
    return Finding.WRONG if others else Finding.NOTHING


_RESTATED = frozenset({"sum"})
"""Kinds whose subject is a calculation, which may contain the digits of the answer."""


@cache
def _others(kind: str, answer: str) -> tuple[list[str], ...]:
    """Return the kind's other answers, except those that are part of the right one."""
    right = words_of(answer)
    rest = sorted(kind_named(kind).vocabulary - {answer})
    return tuple(words for words in map(words_of, rest) if not contains(right, words))
