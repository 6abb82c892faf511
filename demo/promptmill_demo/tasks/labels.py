"""The five scores of an answer to a task, computed from its text and the ground truth."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Final

from promptmill_demo.tasks import Finding, find_answer
from promptmill_demo.tasks.words import FILLERS
from promptmill_schemas import AttributeScores

HIGHEST: Final = 4.0
WORDS_PER_POINT: Final = 6.0
"""The number of words that raise verbosity by one."""

_CONNECTIVES: Final = frozenset({"so", "since", "because", "therefore", "which", "where", "means"})
_WORD = re.compile(r"[\w']+")
_HALF_SENTENCE = re.compile(r"[a-z]\w* .*[^.!?]$")


def label(text: str, tags: Mapping[str, str]) -> AttributeScores:
    """Return exact scores from 0 to 4, like those of HelpSteer2's annotators.

    Helpfulness follows correctness: fillers and padding reduce it, and a wrong answer has a low
    one even if it is well written.
    """
    words = _WORD.findall(text.lower())
    correctness = {Finding.RIGHT: HIGHEST, Finding.HEDGED: 1.0}.get(find_answer(text, tags), 0.0)
    coherence = _coherence(text, words)
    verbosity = _bounded(len(words) / WORDS_PER_POINT)
    return AttributeScores(
        helpfulness=_helpfulness(correctness, coherence, verbosity),
        correctness=correctness,
        coherence=coherence,
        complexity=_complexity(text, words),
        verbosity=verbosity,
    )


def _helpfulness(correctness: float, coherence: float, verbosity: float) -> float:
    if correctness < HIGHEST:
        return 0.3 * correctness + 0.15 * coherence
    return HIGHEST - 0.5 * (HIGHEST - coherence) - 0.15 * verbosity


def _coherence(text: str, words: list[str]) -> float:
    if not words:
        return 0.0
    fillers = sum(word in FILLERS for word in words)
    repeats = sum(one == other for one, other in pairwise(words))
    broken = text.endswith("...") + bool(_HALF_SENTENCE.match(text))
    return _bounded(HIGHEST - 0.7 * (fillers + repeats) - broken)


def _complexity(text: str, words: list[str]) -> float:
    """Return the complexity, which grows with the length of sentences and the connectives."""
    if not words:
        return 0.0
    sentences = max(1, len(re.findall(r"[.!?](?:\s|$)", text)))
    connectives = sum(word in _CONNECTIVES for word in words)
    return _bounded(0.12 * len(words) / sentences + 0.9 * min(2, connectives))


def _bounded(value: float) -> float:
    return max(0.0, min(HIGHEST, value))
