"""Converting batches of the table to the rows of an export, distributed over its splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import pyarrow as pa

from promptmill.export.formats import Context, Row, TrainerFormat
from promptmill.export.formats.conversation import uses_tools
from promptmill.export.splits import ShardedFiles, split_of
from promptmill.lake.tables import records
from promptmill.runtime.errors import Misconfigured
from promptmill_schemas import Record

LOG_POSITION: Final = frozenset({"shard", "shard_offset"})
"""The columns with the position in Kafka, which do not describe the record."""

Splits = Mapping[str, ShardedFiles]


class RowSource(Protocol):
    """The conversion of records to the rows of an export.

    Attributes:
        schema: the columns of the rows.
        columns: the columns of the table from which rows are built.
        without_rows: the number of records that have no row in the format.
    """

    schema: pa.Schema
    columns: tuple[str, ...]
    without_rows: int

    def write(self, batch: pa.RecordBatch, splits: Splits, validation: float) -> None:
        """Append the rows of these records to their splits."""


class OwnRows:
    """Records as they are in the table.

    Args:
        table: the columns of the table.
        columns: the columns to export; empty means all except the position in the log.

    Raises:
        Misconfigured: the table has no such column.
    """

    def __init__(self, table: pa.Schema, columns: Sequence[str]) -> None:
        check_columns(table, columns)
        names = columns or own_columns(table)
        self.columns = tuple(names)
        self.schema = pa.schema([table.field(name) for name in names])
        self.without_rows = 0

    def write(self, batch: pa.RecordBatch, splits: Splits, validation: float) -> None:
        """Append these records."""
        found = [split_of(prompt, validation) for prompt in batch["prompt_id"].to_pylist()]
        table = pa.Table.from_batches([batch]).select(list(self.columns))
        for name, files in splits.items():
            rows = table.filter(pa.array([split == name for split in found]))
            if rows.num_rows:
                files.write_table(rows)


class TrainerRows:
    """Records in a trainer's format.

    Args:
        form: the format.
        table: the columns of the table.
        columns: the columns of the table to add to each row.
        verifier: see :class:`promptmill.export.formats.Context`.
        written: the number of rows that each split has already.

    Raises:
        Misconfigured: the table has no such column, or the format has one of this name.
    """

    def __init__(
        self,
        form: TrainerFormat,
        table: pa.Schema,
        columns: Sequence[str],
        verifier: str,
        written: Mapping[str, int],
    ) -> None:
        check_columns(table, columns)
        if taken := [name for name in columns if name in form.schema.names]:
            raise Misconfigured(
                f"--columns {', '.join(taken)}: rows of {form.name} have columns of this name "
                "already; omit them"
            )
        self._format = form
        self._added = tuple(columns)
        self._verifier = verifier
        self._written = Counter(written)
        self.columns = tuple(dict.fromkeys((*columns_of(form, table), *columns)))
        self.schema = pa.schema([*form.schema, *(table.field(name) for name in columns)])
        self.without_rows = 0

    def write(self, batch: pa.RecordBatch, splits: Splits, validation: float) -> None:
        """Append the rows of these records; all rows of one record go to the same file."""
        found: dict[str, list[Row]] = {name: [] for name in splits}
        for stored in batch.to_pylist():
            split = split_of(stored["prompt_id"], validation)
            found[split] += self._rows(stored, split)
        for name, rows in found.items():
            if rows:
                splits[name].write_rows(rows)

    def _rows(self, stored: dict[str, Any], split: str) -> list[Row]:
        context = Context(split, self._written[split], self._verifier)
        rows = rows_of(self._format, records.record(stored), context)
        added = {name: stored[name] for name in self._added}
        self._written[split] += bool(rows)
        self.without_rows += not rows
        return [row | added for row in rows] if added else rows


def own_columns(table: pa.Schema) -> list[str]:
    """Return the columns of promptmill's own rows: all except the position in the log."""
    return [name for name in table.names if name not in LOG_POSITION]


def rows_of(form: TrainerFormat, record: Record, context: Context) -> list[Row]:
    """Return the rows of a record; none if the format cannot express it."""
    return [] if uses_tools(record) else list(form.rows(record, context))


def columns_of(form: TrainerFormat, table: pa.Schema) -> list[str]:
    """Return the columns of the table from which a format's rows are built."""
    needed = records.contract_columns(candidates=form.reads_candidates)
    return [name for name in needed if name in table.names]


def check_columns(table: pa.Schema, columns: Sequence[str]) -> None:
    """Check the names of columns that the user gave.

    Raises:
        Misconfigured: the table has no such column.
    """
    if unknown := [name for name in columns if name not in table.names]:
        raise Misconfigured(
            f"--columns {', '.join(unknown)}: the table of records has no such column; choose from "
            f"{', '.join(table.names)}"
        )
