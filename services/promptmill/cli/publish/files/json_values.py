"""Splitting of JSON values that span lines or are in an array, with bounded memory.

A value ends where its brackets are closed. Brackets inside strings are ignored. Whether a value is
valid JSON is checked later, when it is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from promptmill.cli.publish.files.splitting import BoundedPieces, RawLine
from promptmill_schemas.limits import MAX_PROMPT_BYTES

_STRUCTURE: Final = re.compile(rb'["{}\[\],]')
_STRING_END: Final = re.compile(rb'["\\]')
_QUOTE: Final = ord('"')
_COMMA: Final = ord(",")
_OPENING: Final = b"{["


class ValueSplitter:
    """Splits chunks, which are fed in order, into JSON values.

    The values are the items of the outermost array, or follow each other without one. They are
    numbered from 1.

    Args:
        limit: maximum number of bytes of a value to keep.
    """

    def __init__(self, limit: int = MAX_PROMPT_BYTES) -> None:
        self._number = 0
        self._pieces = BoundedPieces(limit)
        self._depth = 0
        self._in_string = self._is_escaped = self._has_begun = False
        self._in_array = False

    @property
    def is_open(self) -> bool:
        """Whether a value or the array is incomplete so far."""
        return self._in_array or self._depth > 0 or self._in_string

    def feed(self, chunk: bytes) -> list[RawLine]:
        """Return the values that end in this chunk."""
        if not self._has_begun:
            chunk = self._begin(chunk.lstrip())
        return [value for value in self._values(chunk) if value is not None]

    def end(self) -> list[RawLine]:
        """Return the text after the last value that is not a value itself."""
        value = self._cut()
        return [] if value is None else [value]

    def _begin(self, text: bytes) -> bytes:
        self._has_begun = bool(text)
        self._in_array = text.startswith(b"[")
        return text[1:] if self._in_array else text

    def _values(self, chunk: bytes) -> Iterator[RawLine | None]:
        at = start = 0
        while at < len(chunk):
            if self._in_string:
                at = self._skip_string(chunk, at)
                continue
            found = _STRUCTURE.search(chunk, at)
            if found is None:
                break
            at = found.end()
            ends = self._step(chunk[found.start()])
            if ends is not None:
                self._pieces.take(chunk[start : at if ends else found.start()])
                start = at
                yield self._cut()
        self._pieces.take(chunk[start:])

    def _step(self, sign: int) -> bool | None:
        """Return ``True`` if a value ends with this sign, ``False`` if before it, else ``None``."""
        if sign == _QUOTE:
            self._in_string = True
        elif sign in _OPENING:
            self._depth += 1
        elif sign == _COMMA:
            return None if self._depth else False
        elif self._depth:
            self._depth -= 1
            return None if self._depth else True
        else:
            self._in_array = False
            return False
        return None

    def _skip_string(self, chunk: bytes, at: int) -> int:
        """Return the position at which the string or the chunk ends."""
        if self._is_escaped:
            self._is_escaped = False
            return at + 1
        found = _STRING_END.search(chunk, at)
        if found is None:
            return len(chunk)
        self._in_string = found.group() != b'"'
        self._is_escaped = self._in_string
        return found.end()

    def _cut(self) -> RawLine | None:
        content, size = self._pieces.cut()
        if size == len(content):
            content = content.strip()
            size = len(content)
        if not size:
            return None
        self._number += 1
        return RawLine(self._number, content, size)
