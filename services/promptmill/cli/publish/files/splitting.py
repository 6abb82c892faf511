"""Splitting of chunks of bytes into numbered lines, each kept only up to a limit."""

from __future__ import annotations

from typing import Any, NamedTuple

from promptmill_schemas.limits import MAX_PROMPT_BYTES

UTF8_BOM = b"\xef\xbb\xbf"


class RawLine(NamedTuple):
    """A line, or a row of a table, as it was read.

    Attributes:
        number: its number from 1, counting empty lines.
        content: the line without its line break, truncated at the limit; for a table, the row's
            cells by column.
        size: bytes of the whole line; 0 for a row of a table.
        file: the file's name, if more than one file is read.
    """

    number: int
    content: bytes | dict[str, Any]
    size: int = 0
    file: str | None = None

    @property
    def is_cut(self) -> bool:
        """Whether the line was longer than the limit."""
        return isinstance(self.content, bytes) and self.size > len(self.content)


class BoundedPieces:
    """Joins the pieces of a line or value, and keeps them up to a limit.

    Args:
        limit: maximum number of bytes to keep.

    Attributes:
        size: bytes of all pieces, including those that were not kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._head = bytearray()
        self.size = 0

    def take(self, piece: bytes) -> None:
        """Add a piece."""
        self._head += piece[: max(0, self._limit - len(self._head))]
        self.size += len(piece)

    def cut(self) -> tuple[bytes, int]:
        """Return the kept bytes and the size of all pieces, and reset."""
        content, size = bytes(self._head), self.size
        self._head.clear()
        self.size = 0
        return content, size


class LineSplitter:
    """Splits chunks, which are fed in order, into lines.

    Args:
        limit: maximum number of bytes of a line to keep.
    """

    def __init__(self, limit: int = MAX_PROMPT_BYTES) -> None:
        self._limit = limit
        self._number = 0
        self._pieces = BoundedPieces(limit)

    def feed(self, chunk: bytes) -> list[RawLine]:
        """Return the lines that end in this chunk, without blank ones."""
        *ended, rest = chunk.split(b"\n")
        lines = []
        for piece in ended:
            if self._number and not self._pieces.size and len(piece) <= self._limit:
                self._number += 1
                lines.append(RawLine(self._number, piece, len(piece)))
                continue
            self._pieces.take(piece)
            lines.append(self._cut_line())
        self._pieces.take(rest)
        return [line for line in lines if not _is_blank(line)]

    def end(self) -> list[RawLine]:
        """Return the last line, if the input did not end with a line break."""
        line = self._cut_line()
        return [] if _is_blank(line) else [line]

    def _cut_line(self) -> RawLine:
        self._number += 1
        content, size = self._pieces.cut()
        if self._number == 1 and content.startswith(UTF8_BOM):
            content, size = content[len(UTF8_BOM) :], size - len(UTF8_BOM)
        return RawLine(self._number, content, size)


def _is_blank(line: RawLine) -> bool:
    return isinstance(line.content, bytes) and not line.is_cut and not line.content.strip()
