"""Answers to tasks in many styles: terse or wordy, plain or explained, clean or rambling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Final

from promptmill_demo.tasks import Task
from promptmill_demo.tasks.words import FILLERS, fill

OPENERS: Final = (
    "That is a good question.",
    "Thank you for asking.",
    "I am glad to help with this.",
    "Let me answer that.",
)
CLOSERS: Final = (
    "I hope this helps you, and please ask again if anything is unclear.",
    "Feel free to ask me about anything else that interests you.",
    "If you want to be sure, you can look it up in any good book.",
)
STYLES: Final = ("word", "terse", "plain", "explained", "wordy", "rambling")

GENERATOR_WEIGHTS: Final = (0.14, 0.24, 0.26, 0.14, 0.11, 0.11)
"""The share of each of :data:`STYLES` in the generator's training text."""


def write(task: Task, answer: str, style: str, draws: Random) -> str:
    """Phrase ``answer``, which may be right or wrong, as an answer in one of the styles."""
    return _WRITERS[style](task, answer, draws)


def say(task: Task, answer: str, draws: Random) -> str:
    """Return the bare answer, with or without a full stop."""
    return write(task, answer, draws.choice(("word", "terse")), draws)


def any_style(draws: Random) -> str:
    """Return a random style, with the generator's weights."""
    return draws.choices(STYLES, GENERATOR_WEIGHTS)[0]


def _slots(task: Task, answer: str) -> Mapping[str, str]:
    return {**task.fact.slots, "a": answer}


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _word(_task: Task, answer: str, _draws: Random) -> str:
    return answer


def _terse(_task: Task, answer: str, _draws: Random) -> str:
    return f"{_capital(answer)}."


def _plain(task: Task, answer: str, draws: Random) -> str:
    return _capital(fill(draws.choice(task.kind.sentences), _slots(task, answer)))


def _explained(task: Task, answer: str, draws: Random) -> str:
    return _capital(fill(draws.choice(task.kind.reasons), _slots(task, answer)))


def _wordy(task: Task, answer: str, draws: Random) -> str:
    return f"{draws.choice(OPENERS)} {_plain(task, answer, draws)} {draws.choice(CLOSERS)}"


def _rambling(task: Task, answer: str, draws: Random) -> str:
    return ramble(_plain(task, answer, draws), draws)


def ramble(text: str, draws: Random) -> str:
    """Return the text with fillers between words, repeated words and dots at the end."""
    said: list[str] = []
    for word in text.rstrip(".").split():
        if draws.random() < 0.35:
            said.append(draws.choice(FILLERS))
        said.append(word)
        if draws.random() < 0.15:
            said.append(word)
    return " ".join([draws.choice(FILLERS), *said]) + "..."


_WRITERS: Final[dict[str, Callable[[Task, str, Random], str]]] = {
    "word": _word,
    "terse": _terse,
    "plain": _plain,
    "explained": _explained,
    "wordy": _wordy,
    "rambling": _rambling,
}
