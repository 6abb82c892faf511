"""Texts as words: articles that fit, and what is compared when an answer is checked."""

from __future__ import annotations

import re
from collections.abc import Mapping

FILLERS = ("um", "er", "well", "like", "hm", "anyway")
"""What a speaker says while looking for a word; never part of an answer."""

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
    """The template with its slots filled in, ``an`` before vowels, no doubled full stop."""
    text = template.format_map(slots).replace("..", ".").replace(".?", "?")
    return _ARTICLE.sub(r"\1n ", text)


def words_of(text: str) -> list[str]:
    """Lower-case words and numbers; signs of calculation are words."""
    for sign, word in _SIGNS.items():
        text = text.replace(sign, word)
    return _WORD.findall(text.lower())


def fluent(words: list[str]) -> list[str]:
    """What is meant: without fillers, and without words that are said twice in a row."""
    kept: list[str] = []
    for word in words:
        if word not in FILLERS and word != (kept[-1] if kept else ""):
            kept.append(word)
    return kept


def contains(words: list[str], wanted: list[str]) -> bool:
    """Whether the wanted words stand in a row somewhere."""
    size = len(wanted)
    return any(words[at : at + size] == wanted for at in range(len(words) - size + 1))


def without(words: list[str], phrase: list[str]) -> list[str]:
    """The words with every occurrence of the phrase cut out."""
    kept: list[str] = []
    at = 0
    while at < len(words):
        if phrase and words[at : at + len(phrase)] == phrase:
            at += len(phrase)
        else:
            kept.append(words[at])
            at += 1
    return kept
