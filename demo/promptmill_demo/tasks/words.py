"""Functions on the words of a text, for filling templates and checking answers."""

from __future__ import annotations

import re
from collections.abc import Mapping

FILLERS = ("um", "er", "well", "like", "hm", "anyway")
"""Filler words, which are never part of an answer."""

_ARTICLE = re.compile(r"\b([Aa]) (?=[aeio]|u(?!ni|se))")
_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
_SIGNS = {
    "’": "'",
    "=": " is ",
    "+": " plus ",
    "-": " minus ",
    "−": " minus ",
    "*": " times ",
    "×": " times ",
}


def fill(template: str, slots: Mapping[str, str]) -> str:
    """Fill the slots of a template, with ``an`` before vowels and without double full stops."""
    text = template.format_map(slots).replace("..", ".").replace(".?", "?")
    return _ARTICLE.sub(r"\1n ", text)


def words_of(text: str) -> list[str]:
    """Return the words and numbers in lower case; arithmetic signs become words."""
    for sign, word in _SIGNS.items():
        text = text.replace(sign, word)
    return _WORD.findall(text.lower())


def fluent(words: list[str]) -> list[str]:
    """Return the words without fillers and without immediate repetitions."""
    kept: list[str] = []
    for word in words:
        if word not in FILLERS and word != (kept[-1] if kept else ""):
            kept.append(word)
    return kept


def contains(words: list[str], wanted: list[str]) -> bool:
    """Return whether the wanted words occur consecutively."""
    size = len(wanted)
    return any(words[at : at + size] == wanted for at in range(len(words) - size + 1))


def without(words: list[str], phrase: list[str]) -> list[str]:
    """Return the words without all occurrences of the phrase."""
    kept: list[str] = []
    at = 0
    while at < len(words):
        if phrase and words[at : at + len(phrase)] == phrase:
            at += len(phrase)
        else:
            kept.append(words[at])
            at += 1
    return kept
