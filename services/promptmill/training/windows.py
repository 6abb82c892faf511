"""Reading a growing table in windows, each shard in the order of its offsets."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import reduce
from operator import and_, or_
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.dataset as ds

from promptmill.export.selection import SqlCondition
from promptmill.lake.ports import TableName
from promptmill.lake.reader import DeltaReader, Snapshot

Bounds: TypeAlias = Mapping[int, int]
"""An offset for each shard."""

WINDOW_ROWS = 4_096
"""The approximate number of rows in memory."""

SLICE_ROWS = 128
"""The number of rows to convert to Python objects at once, so that the first arrives soon."""

MAX_STEP = 1 << 24
POSITION = ("shard", "shard_offset")


class Windows:
    """The rows of some shards of the table of records, from given positions.

    Args:
        reader: the reader of the store.
        shards: the shards to read.
        columns: the columns to read, besides shard and offset.
        fixed: the expression on run and kind that all rows fulfil.
        condition: the user's condition that rows must fulfil.
    """

    def __init__(
        self,
        reader: DeltaReader,
        shards: Collection[int],
        columns: Sequence[str],
        fixed: ds.Expression | None,
        condition: SqlCondition | None,
    ) -> None:
        self._reader = reader
        self._shards = sorted(shards)
        self._columns = list(dict.fromkeys((*POSITION, *columns)))
        self._condition = condition
        self._step = max(1, WINDOW_ROWS // len(self._shards))
        self._fixed = [ds.field("shard").isin(self._shards), *([] if fixed is None else [fixed])]

    def read(self, starts: Bounds) -> Iterator[tuple[Bounds, pa.Table]]:
        """Yield the end and the rows of each window, up to the current end of the table.

        The rows of a shard are in the order of their offsets; those of different shards alternate.

        Raises:
            Unavailable: the storage does not answer. What was yielded remains valid.
        """
        ends, snapshot = self._reader.present(TableName.RECORDS, self._shards)
        at = dict(starts)
        while any(at[shard] < end for shard, end in ends.items()):
            to = self._next_bounds(at, ends)
            rows = self._rows(snapshot, {shard: (at[shard], end) for shard, end in to.items()})
            self._adapt(rows.num_rows)
            at |= to
            yield to, rows

    def _next_bounds(self, at: Bounds, ends: Bounds) -> dict[int, int]:
        """Return the end of each shard's part of a window; shards catch up with the last one."""
        highest = min(at[shard] for shard, end in ends.items() if at[shard] < end) + self._step
        found = {shard: min(end, highest) for shard, end in ends.items()}
        return {shard: end for shard, end in found.items() if end > at[shard]}

    def _adapt(self, rows: int) -> None:
        """Enlarge the windows if few rows are selected, and shrink them if there are many."""
        if rows < WINDOW_ROWS // 2:
            self._step = min(self._step * 2, MAX_STEP)
        elif rows > WINDOW_ROWS * 2:
            self._step = max(1, self._step // 2)

    def _rows(self, snapshot: Snapshot, parts: Mapping[int, tuple[int, int]]) -> pa.Table:
        shard, offset = ds.field("shard"), ds.field("shard_offset")
        each = (
            (shard == number) & (offset >= start) & (offset < end)
            for number, (start, end) in parts.items()
        )
        # The range of all shards and the files' statistics decide which row groups are read.
        lowest = min(start for start, _ in parts.values())
        highest = max(end for _, end in parts.values())
        wanted = reduce(and_, [offset >= lowest, offset < highest, *self._fixed, reduce(or_, each)])
        needed = () if self._condition is None else self._condition.columns
        batches: Iterator[pa.RecordBatch] = snapshot.scan(
            list(dict.fromkeys((*self._columns, *needed))), wanted
        )
        if self._condition is not None:
            kept = self._condition.keep
            batches = (part for batch in batches for part in kept(batch, self._columns))
        found = [batch for batch in batches if batch.num_rows]
        if not found:
            return pa.table({})
        return pa.Table.from_batches(found).sort_by(
            [("shard_offset", "ascending"), ("shard", "ascending")]
        )


def records_in(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield the rows of a window as they are in the table."""
    for batch in table.to_batches(max_chunksize=SLICE_ROWS):
        yield from batch.to_pylist()
