"""Reading tables while sinks write to them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any

from deltalake import DeltaTable

from promptmill.lake.identity import PARTITIONS, TOPIC, Identity
from promptmill.lake.ports import TableName
from promptmill.lake.table import (
    StorageOptions,
    TableHandle,
    scan,
    texts,
    translated,
)
from promptmill.lake.transactions import AppTransactions, position_id

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.dataset import Expression

FEW_ROWS = 256
"""The number of rows in memory while a few whole rows are searched."""


class Snapshot:
    """One version of a table, which later commits do not change."""

    def __init__(self, table: DeltaTable) -> None:
        self._table = table
        self.version = table.version()

    @property
    def table_id(self) -> str:
        """The id that the table received at its creation, whatever the path of its folder."""
        return str(self._table.metadata().id)

    @property
    def topic(self) -> str:
        """The full name of the topic that fills the table."""
        return str(self._table.metadata().configuration[TOPIC])

    @property
    def partitions(self) -> int:
        """The number of shards in the layout of the data set."""
        return int(self._table.metadata().configuration[PARTITIONS])

    def check(self, identity: Identity) -> None:
        """Check that the table has the offsets of this log.

        Raises:
            Misconfigured: the table belongs to another cluster, topic or layout.
        """
        identity.check(self._table.table_uri, self._table.metadata().configuration)

    @property
    def schema(self) -> pa.Schema:
        """The columns."""
        import pyarrow as pa

        return pa.schema(self._table.schema().to_arrow())

    def count(self) -> int:
        """Return the number of rows, from the statistics of the files."""
        return self._table.count()

    def next_offsets(self, shards: Collection[int] | None = None) -> dict[int, int]:
        """Return the next offset by shard; shards without rows are missing.

        Args:
            shards: the shards to read, by default those of the layout.
        """
        topic = self.topic
        shards = range(self.partitions) if shards is None else shards
        found = {s: self._table.transaction_version(position_id(topic, s)) for s in shards}
        return {shard: offset for shard, offset in found.items() if offset is not None}

    def scan(
        self, columns: Sequence[str] | None = None, condition: Expression | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield rows as record batches, in no order."""
        return scan(self._table, columns, condition)

    def scan_in_order(
        self, columns: Sequence[str], condition: Expression | None = None, *, batch_rows: int
    ) -> Iterator[pa.RecordBatch]:
        """Yield rows in the same order to every reader; see :mod:`promptmill.lake.leaves`."""
        from promptmill.lake.leaves import scan_in_order

        return scan_in_order(self._table, columns, condition, batch_rows)

    def rows_at(
        self, places: Collection[tuple[int, int]], columns: Sequence[str]
    ) -> dict[tuple[int, int], dict[str, Any]]:
        """Return the rows at these shards and offsets with these columns, without missing ones."""
        from pyarrow.dataset import field

        found: dict[tuple[int, int], dict[str, Any]] = {}
        if not places:
            return found
        conditions = [(field("shard") == s) & (field("shard_offset") == o) for s, o in places]
        wanted = dict.fromkeys((*columns, "shard", "shard_offset"))
        for batch in self.scan_in_order([*wanted], reduce(or_, conditions), batch_rows=FEW_ROWS):
            for row in batch.to_pylist():
                found[row["shard"], row["shard_offset"]] = {name: row[name] for name in columns}
        return found

    def leaves(
        self, leaves: Sequence[str], condition: Expression | None = None, *, batch_rows: int
    ) -> Iterator[pa.RecordBatch]:
        """Yield rows with some leaves; see :func:`promptmill.lake.leaves.scan_leaves`.

        Args:
            condition: prunes row groups only; rows that do not fulfil it are returned too.
        """
        from promptmill.lake.leaves import scan_leaves

        return scan_leaves(self._table, leaves, condition, batch_rows)

    def texts(self, query: str) -> Iterator[list[str]]:
        """Yield the first column of a query's result; see :func:`promptmill.lake.table.texts`."""
        return texts(self._table, query)


@dataclass(frozen=True, slots=True)
class RunCount:
    """The counts of a run in one version of a table.

    Attributes:
        prompts: the number of the run's prompts; for dead letters, of those with an open one.
        next_offsets: the next offset by shard; shards without rows are missing.
        partitions: the number in the layout; 0 without a table.
    """

    prompts: int
    next_offsets: Mapping[int, int]
    partitions: int = 0


class DeltaReader:
    """A reader of the tables under a folder."""

    def __init__(self, folder: str, storage_options: StorageOptions = None) -> None:
        self._handles = {
            name: TableHandle(f"{folder.rstrip('/')}/{name}", storage_options) for name in TableName
        }
        self._transactions: dict[TableName, AppTransactions] = {}
        self._storage_options = storage_options

    def layout(self) -> int | None:
        """Return the number of partitions in the data set's layout; ``None`` without a table."""
        for handle in self._handles.values():
            if handle.exists():
                properties = handle.open().metadata().configuration
                return int(properties[PARTITIONS]) if PARTITIONS in properties else None
        return None

    def run_count(self, name: TableName, run: str) -> RunCount | None:
        """Return the number of the run's prompts; ``None`` if the rows are not counted by run.

        No row is read. The first call reads the numbers of each shard from the log, and later
        calls read only new log entries.
        """
        handle = self._handles[name]
        if not handle.exists():
            return RunCount(0, {})
        with translated(handle.uri):
            table = handle.latest()
            shards = range(int(table.metadata().configuration[PARTITIONS]))
            transactions = self._transactions_of(name, table)
            counts = [transactions.count(table, shard, run) for shard in shards]
            offsets = _positions(transactions, table, shards)
        if any(count is None for count in counts):
            return None
        return RunCount(sum(count or 0 for count in counts), offsets, len(shards))

    def present(self, name: TableName, shards: Collection[int]) -> tuple[dict[int, int], Snapshot]:
        """Return the next offsets of these shards (0 without rows), and the version that has them.

        The table has to exist. No rows are read, and after the first call only new log entries. The
        version is valid until the next call, which updates it.
        """
        handle = self._handles[name]
        with translated(handle.uri):
            table = handle.latest()
            found = _positions(self._transactions_of(name, table), table, shards)
        return {shard: found.get(shard, 0) for shard in shards}, Snapshot(table)

    def _transactions_of(self, name: TableName, table: DeltaTable) -> AppTransactions:
        topic = table.metadata().configuration[TOPIC]
        return self._transactions.setdefault(name, AppTransactions(topic, self._storage_options))

    def snapshot(self, name: TableName, version: int | None = None) -> Snapshot | None:
        """Return one version of the table, or ``None`` if no sink has created it.

        Args:
            version: the version; ``None`` means the latest.

        Raises:
            Misconfigured: the table has no such version.
        """
        handle = self._handles[name]
        return Snapshot(handle.open(version)) if handle.exists() else None


def _positions(
    transactions: AppTransactions, table: DeltaTable, shards: Collection[int]
) -> dict[int, int]:
    found = {shard: transactions.position(table, shard) for shard in shards}
    return {shard: offset for shard, offset in found.items() if offset is not None}
