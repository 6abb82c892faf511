"""Makes foreign text safe to show on a terminal.

Prompts, answers, the errors of servers and the names in messages come from others. A terminal
executes some of their characters: escape sequences move the cursor, change the window's title or
hide text, and bidirectional overrides make text read differently from what it is. Every text that
a command or a log prints passes through :func:`printable`, which shows such characters as Python
writes them (``\\x1b``, ``\\u202e``).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any, Final

_KEPT_FORMATS: Final = {"\u200c", "\u200d"}
"""The joiners, which Persian, Indic scripts and emoji need and which are harmless."""

_UNSAFE: Final = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""The categories of controls, invisible formats, surrogates and separators of lines."""

_LAYOUT: Final = {"\n", "\t"}


def is_unsafe(character: str) -> bool:
    """Return whether a terminal may execute the character or show a different one."""
    return unicodedata.category(character) in _UNSAFE and character not in _KEPT_FORMATS


def printable(text: str, *, lines: bool = False) -> str:
    """Return the text with every unsafe character written as one of Python's escape sequences.

    Args:
        text: any text, which may contain lone surrogates.
        lines: keep line feeds and tabs; otherwise the result is one line.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if not is_unsafe(c) or (lines and c in _LAYOUT) else _escaped(c) for c in text)


def printable_json(document: bytes) -> str:
    """Escape the unsafe characters in the strings of a JSON document, without changing its value.

    JSON itself requires only the escapes of the characters below U+0020.

    Args:
        document: valid JSON in UTF-8.
    """
    text = document.decode()
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if not is_unsafe(c) or c in _LAYOUT else _escaped_json(c) for c in text)


def printable_event(_logger: Any, _method: str, event: Any) -> Any:
    """Escape all texts of a log event, for the log's readable form on a terminal."""
    return {name: _printable_value(value) for name, value in event.items()}


def _printable_value(value: object) -> object:
    if isinstance(value, str):
        return printable(value, lines=True)
    if isinstance(value, Mapping):
        return {_printable_value(name): _printable_value(each) for name, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_printable_value(each) for each in value]
    return value if value is None or isinstance(value, int | float) else printable(repr(value))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def _escaped_json(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
