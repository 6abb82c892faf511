"""The selection of rows for an export: by version, run, kind and a condition in SQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Self

import pyarrow as pa
import pyarrow.dataset as ds

from promptmill.lake.ports import TableName
from promptmill.lake.reader import DeltaReader, Snapshot
from promptmill.runtime.errors import Misconfigured

if TYPE_CHECKING:
    import duckdb

BATCH_ROWS = 1_000
"""The number of rows in memory; a record with all its candidates may take many kilobytes."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The records to export.

    Attributes:
        run: export only records of this run.
        kinds: export only records of these kinds.
        where: an SQL expression over the columns of the table, for example
            ``scores.helpfulness >= 3.5``.
        version: the version of the table; ``None`` is the latest.
    """

    run: str | None = None
    kinds: tuple[str, ...] = ()
    where: str | None = None
    version: int | None = None

    def open(self, store: str, name: TableName = TableName.RECORDS) -> Snapshot:
        """Open the selected version of a table, by default that of records.

        Raises:
            Misconfigured: there is no table, or no such version.
        """
        snapshot = DeltaReader(store).snapshot(name, self.version)
        if snapshot is None:
            raise Misconfigured(
                f"{store} has no table of {name} yet, because nothing has been stored; start "
                "`promptmill run store`, or point PROMPTMILL_STORE at the right folder"
            )
        return snapshot

    def batches(self, snapshot: Snapshot, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield the selected rows with these columns, always in the same order.

        Raises:
            Misconfigured: the condition is not an SQL expression over the columns.
        """
        if self.where is None:
            yield from self._scan(snapshot, columns)
            return
        with SqlCondition(self.where, snapshot.schema) as condition:
            needed = list(dict.fromkeys((*columns, *condition.columns)))
            for batch in self._scan(snapshot, needed):
                yield from condition.keep(batch, columns)

    def _scan(self, snapshot: Snapshot, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        for batch in snapshot.scan_in_order(columns, self.filter(), batch_rows=BATCH_ROWS):
            if batch.num_rows:
                yield batch

    def filter(self) -> ds.Expression | None:
        """Return the run and the kinds as a condition that skips files and row groups."""
        conditions = []
        if self.run is not None:
            conditions.append(ds.field("run") == self.run)
        if self.kinds:
            conditions.append(ds.field("kind").isin(list(self.kinds)))
        return reduce(and_, conditions) if conditions else None


class SqlCondition:
    """An SQL expression that is evaluated for each batch of rows, by DuckDB.

    Rows keep their order, and memory does not depend on their number. The expression has no
    access to files or networks.

    Args:
        text: the expression.
        schema: the columns that it may name.
    """

    def __init__(self, text: str, schema: pa.Schema) -> None:
        self._text = text
        self._schema = schema
        self.columns: list[str] = []

    def __enter__(self) -> Self:
        import duckdb

        self._connection: duckdb.DuckDBPyConnection = duckdb.connect(
            config={"enable_external_access": "false", "threads": 1}
        )
        self._connection.execute("SET TimeZone = 'UTC'")
        try:
            self.columns = self._named_columns()
        except BaseException:
            self._connection.close()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self._connection.close()

    def keep(self, batch: pa.RecordBatch, columns: Sequence[str]) -> list[pa.RecordBatch]:
        """Return the rows that fulfil the condition, with these columns."""
        table = pa.Table.from_batches([batch])
        wanted = self._evaluate(table.select(self.columns))
        kept = table.select(list(columns)).filter(wanted)
        return [part for part in kept.to_batches() if part.num_rows]

    def _named_columns(self) -> list[str]:
        """Return the columns without which the expression cannot be evaluated."""
        empty = self._schema.empty_table()
        self._evaluate(empty)
        found = [name for name in self._schema.names if not self._works_without(name)]
        return found or self._schema.names[:1]

    def _works_without(self, name: str) -> bool:
        rest = [other for other in self._schema.names if other != name]
        try:
            self._evaluate(self._schema.empty_table().select(rest))
        except Misconfigured:
            return False
        return True

    def _evaluate(self, rows: pa.Table) -> pa.ChunkedArray:
        import duckdb

        self._connection.register("records", rows)
        query = f"SELECT coalesce(({self._text}\n), false)::BOOLEAN AS kept FROM records"  # noqa: S608
        try:
            return self._connection.sql(query).to_arrow_table()["kept"]
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise Misconfigured(
                f"--where {self._text!r} is not a condition on a row: {reason}; use an SQL "
                f"expression over the columns {', '.join(self._schema.names)}"
            ) from error
