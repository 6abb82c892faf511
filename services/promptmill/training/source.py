"""Converting the table of records to a trainer's rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import pyarrow as pa

from promptmill.export.formats import FORMATS, Context, Row, TrainerFormat
from promptmill.export.rows import columns_of, own_columns, rows_of
from promptmill.export.selection import Selection, SqlCondition
from promptmill.lake.reader import DeltaReader
from promptmill.lake.tables import records
from promptmill.training.following import Following
from promptmill.training.position import Cursor
from promptmill.training.weights import Weight, copies_of
from promptmill.training.windows import Windows, records_in

STALENESS_COLUMNS: Final = ("generated_by", "created_at")


@dataclass(frozen=True, slots=True)
class StreamSource:
    """The settings that all readers of a stream share; they are sent to other processes.

    Attributes:
        store: URI of the store.
        table_id: the id of its table of records.
        schema: the columns of that table.
        origin: the offsets at which the stream begins, by shard.
        selection: the records to read.
        trainer: the name of the format of the rows.
        weight: how often a record is delivered; ``None`` for once each.
        max_staleness: see :class:`promptmill.training.staleness.Revisions`.
        following: when the stream ends.
        limit: the number of rows after which it ends.
    """

    store: str
    table_id: str
    schema: pa.Schema
    origin: Mapping[int, int]
    selection: Selection
    trainer: str
    weight: Weight | None
    max_staleness: int | None
    following: Following
    limit: int | None

    @property
    def form(self) -> TrainerFormat | None:
        """The trainer's format; ``None`` for promptmill's own rows."""
        return FORMATS.get(self.trainer)

    def row_schema(self) -> pa.Schema:
        """Return the columns of a row."""
        if self.form is not None:
            return self.form.schema
        return pa.schema([self.schema.field(name) for name in own_columns(self.schema)])

    def rows(self, cursor: Cursor) -> Iterator[Row]:
        """Yield the rows of the cursor's shards; the cursor moves before each row is yielded."""
        if self.limit is None:
            return self._rows(cursor)
        return islice(self._rows(cursor), max(0, self.limit - cursor.delivered))

    def _rows(self, cursor: Cursor) -> Iterator[Row]:
        for table in self.windows(cursor, self._columns()):
            cursor.revisions.add(table)
            for stored in records_in(table):
                yield from self._deliver(stored, cursor)

    def windows(
        self, cursor: Cursor, columns: Sequence[str], on_pause: Callable[[], None] = lambda: None
    ) -> Iterator[pa.Table]:
        """Yield the selected records in windows, and move the cursor after each window.

        Args:
            cursor: the position to begin at.
            columns: the columns of the windows, besides shard and offset.
            on_pause: called before each wait for further records.
        """
        reader, where = DeltaReader(self.store), self.selection.where
        with nullcontext() if where is None else SqlCondition(where, self.schema) as condition:
            windows = Windows(reader, cursor.positions, columns, self.selection.filter(), condition)
            for ends, table in self.following.windows(reader, windows, cursor, on_pause):
                yield table
                cursor.skip_to(ends)

    def _columns(self) -> list[str]:
        form = self.form
        found = own_columns(self.schema) if form is None else columns_of(form, self.schema)
        return [*found, *STALENESS_COLUMNS]

    def _deliver(self, stored: dict[str, Any], cursor: Cursor) -> Iterator[Row]:
        shard, offset = stored.pop("shard"), stored.pop("shard_offset")
        if cursor.revisions.is_stale(stored):
            return
        rows = self._made(stored, shard, offset)
        for done in range(cursor.done(shard, offset), len(rows)):
            cursor.deliver(shard, offset, done + 1, len(rows))
            yield rows[done]

    def _made(self, stored: dict[str, Any], shard: int, offset: int) -> list[Row]:
        """Return the rows of one record, with all its copies."""
        if self.form is None and self.weight is None:
            return [stored]
        record = records.record(stored)
        copies = 1 if self.weight is None else copies_of(record, self.weight)
        if self.form is None:
            return [dict(stored) for _ in range(copies)]
        # The position in the log gives each record the same number for every reader.
        context = Context(index=offset * len(self.origin) + shard)
        return [row for _ in range(copies) for row in rows_of(self.form, record, context)]
