"""Ground truth: whether a text gives the one right answer to a task."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from functools import cache

from promptmill_demo.tasks.catalogue import kind_named
from promptmill_demo.tasks.words import contains, fluent, without, words_of


class Finding(Enum):
    """What a text says of a task."""

    RIGHT = "right"
    HEDGED = "hedged"
    WRONG = "wrong"
    NOTHING = "nothing"


def is_correct(answer_text: str, tags: Mapping[str, str]) -> bool:
    """Whether the text commits itself to the right answer, and to no other.

    Args:
        tags: of the task, as :attr:`~promptmill_demo.tasks.task.Task.tags` has them.

    Raises:
        KeyError: the tags are not those of a task.
    """
    return find_answer(answer_text, tags) is Finding.RIGHT


def find_answer(text: str, tags: Mapping[str, str]) -> Finding:
    """The answer that the text gives; neither the question's own words nor stumbles count."""
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
"""Kinds whose subject is a calculation, which may hold the answer's digits."""


@cache
def _others(kind: str, answer: str) -> tuple[list[str], ...]:
    """The kind's other answers; what is part of the right one is no other."""
    right = words_of(answer)
    rest = sorted(kind_named(kind).vocabulary - {answer})
    return tuple(words for words in map(words_of, rest) if not contains(right, words))
