"""Recognising the layout of a file from its first rows, and reporting it in one line."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Final

from promptmill.cli.publish.files.splitting import RawLine
from promptmill.cli.publish.layouts.choices import UnknownColumns
from promptmill.cli.publish.layouts.plain import Row, Taken, present, read_columns
from promptmill.cli.publish.layouts.reading import OWN, RowReader
from promptmill.cli.publish.layouts.table import LAYOUTS, PLAIN, RowLayout, layout_of
from promptmill.runtime.errors import Misconfigured

FIRST_ROWS: Final = 20
SHOWN_COLUMNS: Final = 12

ParseObject = Callable[[bytes | Row], Row | None]


class Recogniser:
    """A reader that recognises the layout of each file and reads its rows accordingly.

    Args:
        reader: the reader that the command line describes.
        parse: parses a line to an object; returns ``None`` for an invalid line.
        tell: called with one line of text about the layout of each file.
    """

    def __init__(self, reader: RowReader, parse: ParseObject, tell: Callable[[str], None]) -> None:
        self._given = reader
        self._reader = reader
        self._parse = parse
        self._tell = tell
        self._file: str | None = None
        self._is_known = False

    @property
    def reads_texts(self) -> bool:
        """Whether a row with only a ``prompt`` can be read without a layout."""
        return self._given.reads_texts

    def take(self, row: Row) -> Taken:
        """Read a row of the current file."""
        return self._reader.take(row)

    async def follow(self, batches: AsyncIterator[list[RawLine]]) -> AsyncGenerator[list[RawLine]]:
        """Yield the same rows; recognise a file's layout before its first rows are yielded.

        Raises:
            Misconfigured: no known layout has these columns.
        """
        async for rows in batches:
            if rows and (not self._is_known or rows[0].file != self._file):
                self._file = rows[0].file
                self._recognise(rows[:FIRST_ROWS])
            yield rows

    def _recognise(self, lines: Sequence[RawLine]) -> None:
        rows = [row for line in lines if (row := self._parse(line.content)) is not None]
        self._reader = self._given
        self._is_known = bool(rows) and bool(self._given.is_forced or self._given.mapping)
        if not rows or self._is_known:
            return
        found = Counter(layout.name for row in rows if (layout := layout_of(read_columns(row))))
        self._is_known = bool(found)
        if not found:
            self._refuse(rows)
            return
        name = found.most_common(1)[0][0]
        self._reader = self._given.with_layout(LAYOUTS[PLAIN if name in OWN else name])
        if name not in OWN:
            self._say(LAYOUTS[name], [present(row) for row in rows])

    def _refuse(self, rows: list[Row]) -> None:
        """Refuse several rows of an unknown layout; a single one is only an invalid line."""
        if len(rows) < 2:
            return
        columns = ", ".join(list(rows[0])[:SHOWN_COLUMNS]) or "none"
        raise Misconfigured(
            f"{self._file or 'the input'} has rows with the columns {columns}, which no known "
            "layout has; say what they mean with --map prompt=COLUMN, or use --layout "
            f"({', '.join(LAYOUTS)})"
        )

    def _say(self, layout: RowLayout, rows: list[Row]) -> None:
        unknown = list(dict.fromkeys(name for row in rows for name in layout.unknown(row)))
        used = [
            name for name in dict.fromkeys(n for row in rows for n in row) if name not in unknown
        ]
        file = "" if self._file is None else f"{self._file}: "
        text = f"{file}layout {layout.name} ({', '.join(used[:SHOWN_COLUMNS])})"
        if unknown and self._given.unknown in {None, UnknownColumns.IGNORE}:
            text += (
                f"; ignored columns: {', '.join(unknown[:SHOWN_COLUMNS])}"
                " (--unknown-columns tags keeps them)"
            )
        self._tell(text)
