"""A sink on Delta Lake: one commit has the rows and the positions after them.

Two kinds of application transactions fence every commit. ``promptmill/<topic>-<partition>``
holds the next offset, and ``promptmill/<topic>-<partition>/epoch`` counts the owners of the shard.
A sink that takes over a shard raises the epoch in all tables, and every commit repeats it. A
commit of an earlier owner conflicts with that transaction and is refused. A third one,
``promptmill/<topic>-<partition>/last``, identifies the message before the next offset. The
library only refuses a transaction that was committed *since the version that the writer has
read*, and does not check whether its number grows. Each commit therefore first compares the numbers
that it has read. In addition, ``promptmill/<topic>-<partition>/run/<run>`` counts the run's prompts
in the shard.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from types import MappingProxyType
from typing import TypeAlias, TypeVar

import pyarrow as pa
from deltalake import DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError

from promptmill.lake.compaction import compact
from promptmill.lake.identity import Identity, check_partitions
from promptmill.lake.ports import Batch, Fenced, Ownership, Step, TableName, no_step
from promptmill.lake.schema import add_missing_columns, check_table, fitted, set_properties
from promptmill.lake.table import (
    CONFLICT_TRIES,
    StorageOptions,
    TableHandle,
    TableSettings,
    rows_of_shards,
    translated,
)
from promptmill.lake.tables import TABLES
from promptmill.lake.transactions import AppTransactions, properties_of
from promptmill.lake.vacuum import vacuum_table
from promptmill.runtime.errors import Unavailable

Answer = TypeVar("Answer")
Numbers: TypeAlias = dict[int, int | None]
"""A number of each shard; ``None`` if the table does not know it."""

SLOW_COMMIT_S = 60.0
"""A commit that takes longer, in a frozen process, may have written into a cleaned log."""

COLLECT_EVERY = 100
"""The appends between two garbage collections; each append leaves about 16 KiB."""


class DeltaSink:
    """One writer of the four tables under ``folder``.

    Args:
        folder: URI or path of the store.
        identities: the topic whose offsets a table stores, by table.
        settings: settings for new and existing tables; by default only new tables get settings.
        step: called at each step of a commit.
        clock: returns monotonic seconds.
    """

    def __init__(
        self,
        folder: str,
        identities: Mapping[TableName, Identity],
        *,
        settings: TableSettings | None = None,
        storage_options: StorageOptions = None,
        step: Step = no_step,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._identities = identities
        self._settings = settings or TableSettings()
        self._sets_properties = settings is not None
        self._storage_options = storage_options
        self._step = step
        self._clock = clock
        self._handles = {
            name: TableHandle(f"{folder.rstrip('/')}/{name}", storage_options) for name in TableName
        }
        self._transactions = {
            name: AppTransactions(identities[name].topic, storage_options) for name in TableName
        }
        self._epochs: dict[TableName, dict[int, int]] = {name: {} for name in TableName}
        self._appends = 0
        self._foreign: set[int] = set()
        """Shards with another owner, until this sink owns them in every table."""
        self._writer = WriterProperties(
            compression="ZSTD", compression_level=self._settings.compression_level
        )

    def open(self) -> None:
        """Create missing tables, and check that existing ones belong to these topics."""
        check_partitions(self._identities.values())
        for name, handle in self._handles.items():
            identity, spec = self._identities[name], TABLES[name]
            if not handle.exists():
                properties = self._settings.as_properties() | identity.as_properties()
                handle.create(spec.schema, properties, spec.partition_columns)
            table = handle.latest()
            identity.check(handle.uri, table.metadata().configuration)
            check_table(table, spec.schema, spec.partition_columns)
            add_missing_columns(handle, spec.schema)
            if self._sets_properties:
                set_properties(handle, self._settings.as_properties())

    # Ownership

    def take_over(self, shards: Collection[int]) -> Ownership:
        """Become the only writer of these shards, in every table."""
        next_offsets, last_messages, uncounted = {}, {}, {}
        for name in TableName:
            next_offsets[name], last_messages[name] = self._claim(name, shards)
            uncounted[name] = self._uncounted(name, shards)
            self._step(f"claimed:{name}")
        kept = frozenset(shards) - self._foreign
        self._foreign -= set(shards)
        return Ownership(kept, next_offsets, last_messages, uncounted)

    def _uncounted(self, name: TableName, shards: Collection[int]) -> frozenset[int]:
        transactions = self._transactions[name]

        def attempt(table: DeltaTable) -> frozenset[int]:
            return frozenset(shard for shard in shards if not transactions.is_counted(table, shard))

        return self._with_latest(name, attempt)

    def _claim(self, name: TableName, shards: Collection[int]) -> tuple[Numbers, Numbers]:
        """Raise the epoch of shards of other owners; return all positions and last messages."""
        mine, transactions = self._epochs[name], self._transactions[name]

        def attempt(table: DeltaTable) -> tuple[Numbers, Numbers]:
            transactions.load(table, shards)
            found = {shard: transactions.entry(table, shard) for shard in shards}
            last_messages = {shard: transactions.last_message(table, shard) for shard in shards}
            taken = {s: entry.epoch + 1 for s, entry in found.items() if mine.get(s) != entry.epoch}
            self._foreign.update(taken)
            if taken:
                self._append(table, name, TABLES[name].schema.empty_table(), taken)
                mine.update(taken)
            # An earlier owner's commit repeats the epoch, so there was none before this sink's
            # commit.
            return {shard: entry.position for shard, entry in found.items()}, last_messages

        return self._with_latest(name, attempt)

    def _check_owned(self, table: DeltaTable, name: TableName, shards: Collection[int]) -> None:
        mine, transactions = self._epochs[name], self._transactions[name]
        if lost := {s for s in shards if transactions.entry(table, s).epoch != mine.get(s)}:
            raise Fenced(name, lost)

    # Reading

    def ids(self, table: TableName, shards: Collection[int]) -> Iterator[pa.RecordBatch]:
        """Yield the shard and the ids of all rows of these shards, in any order."""
        latest = self._handles[table].latest()
        return rows_of_shards(latest, ["shard", *TABLES[table].id_columns], shards)

    # Writing

    def commit(self, table: TableName, batch: Batch) -> None:
        """Store rows and positions, all or nothing; a batch that is already stored is skipped."""
        shards = batch.advances.keys()
        target = {shard: advance.next for shard, advance in batch.advances.items()}
        last = {s: step.last for s, step in batch.advances.items() if step.last is not None}

        def attempt(latest: DeltaTable) -> None:
            self._check_owned(latest, table, shards)
            if self._is_stored(latest, table, batch):
                return
            self._step(f"checked:{table}")
            epochs = self._own_epochs(table, shards)
            self._append(latest, table, batch.rows, epochs, target, last, batch.counts)

        if batch.advances:
            self._with_latest(table, attempt)
            self._step(f"committed:{table}")

    def _is_stored(self, latest: DeltaTable, name: TableName, batch: Batch) -> bool:
        """Return whether an earlier attempt stored this batch although it seemed to fail."""
        transactions = self._transactions[name]
        found = {shard: transactions.entry(latest, shard).position for shard in batch.advances}
        if all(found[s] == step.expected for s, step in batch.advances.items()):
            moves = any(step.expected != step.next for step in batch.advances.values())
            return not (moves or batch.rows.num_rows or batch.counts)
        if all(found[s] == step.next for s, step in batch.advances.items()):
            return True
        raise Fenced(name, [s for s, step in batch.advances.items() if found[s] != step.expected])

    def _own_epochs(self, name: TableName, shards: Collection[int]) -> dict[int, int]:
        return {shard: self._epochs[name][shard] for shard in shards}

    def _append(
        self,
        table: DeltaTable,
        name: TableName,
        rows: pa.Table,
        epochs: Mapping[int, int],
        positions: Mapping[int, int] = MappingProxyType({}),
        last_messages: Mapping[int, int] = MappingProxyType({}),
        counts: Mapping[tuple[int, str], int] = MappingProxyType({}),
    ) -> None:
        self._collect_garbage()
        began, before, transactions = self._clock(), table.version(), self._transactions[name]
        numbers = transactions.numbers(epochs, positions, last_messages, counts)
        write_deltalake(
            table,
            _noting_the_end(fitted(rows, table), lambda: self._step(f"written:{name}")),
            mode="append",
            writer_properties=self._writer,
            commit_properties=properties_of(numbers),
        )
        transactions.note_commit(table, before, numbers)
        if (took := self._clock() - began) > SLOW_COMMIT_S:
            raise Unavailable(
                f"{table.table_uri}: a commit took {took:.0f} s, so its result is read back"
            )

    def _collect_garbage(self) -> None:
        """Collect the garbage of earlier appends, whether or not they succeeded.

        Nested functions of ``write_deltalake`` refer to one another and to the table's schema. The
        collector counts objects and not bytes, so by itself it runs after thousands of appends.
        """
        self._appends += 1
        if self._appends % COLLECT_EVERY == 0:
            gc.collect()

    def _with_latest(self, name: TableName, attempt: Callable[[DeltaTable], Answer]) -> Answer:
        """Run ``attempt`` on the latest version; repeat it whenever another commit was faster."""
        handle, transactions = self._handles[name], self._transactions[name]
        with translated(handle.uri):
            for _ in range(CONFLICT_TRIES):
                try:
                    return attempt(handle.latest())
                except CommitFailedError:
                    handle.forget()
                    transactions.forget()
                except BaseException:
                    handle.forget()
                    transactions.forget()
                    raise
        raise Unavailable(
            f"{handle.uri}: other writers committed first in all {CONFLICT_TRIES} attempts"
        )

    # Compaction and vacuum

    def compact(self, table: TableName) -> None:
        """Merge small files, while readers and writers continue."""
        compact(self._handles[table].uri, self._storage_options)

    def vacuum(self, table: TableName, retention_hours: int) -> int:
        """Delete the files that were replaced at least this many hours ago; return their number."""
        uri = self._handles[table].uri
        return len(vacuum_table(uri, retention_hours, options=self._storage_options))


def _noting_the_end(rows: pa.Table, note: Callable[[], None]) -> pa.RecordBatchReader:
    """Return the rows as a stream that reports when the library has read all of them."""

    def batches() -> Iterator[pa.RecordBatch]:
        yield from rows.to_batches()
        note()

    return pa.RecordBatchReader.from_batches(rows.schema, batches())
