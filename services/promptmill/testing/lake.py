"""An in-memory store behind the same port; it passes the contract suite of the Delta sink."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from promptmill.lake.identity import Identity, check_partitions
from promptmill.lake.ports import COUNTED, Batch, Fenced, Ownership, Step, TableName, no_step
from promptmill.lake.tables import TABLES
from promptmill.runtime.errors import Unavailable


@dataclass(slots=True)
class MemoryTable:
    """The rows of a table, and by shard the next offset, the last message and the epoch."""

    rows: pa.Table
    properties: dict[str, str] = field(default_factory=dict)
    positions: dict[int, int] = field(default_factory=dict)
    last_messages: dict[int, int] = field(default_factory=dict)
    epochs: dict[int, int] = field(default_factory=dict)
    counts: dict[tuple[int, str], int] = field(default_factory=dict)


class MemoryStore:
    """The tables that several sinks share.

    Attributes:
        failures: the number of following writes that fail as if the disk were full.
        lock: held over each call, as sinks are used from several threads.
    """

    def __init__(self) -> None:
        self.tables: dict[TableName, MemoryTable] = {}
        self.failures = 0
        self.lock = threading.RLock()

    def check_room(self) -> None:
        """Fail as a full disk does, if failures are left."""
        if self.failures > 0:
            self.failures -= 1
            raise Unavailable("memory://: there is no space left")


class MemorySink:
    """One writer of a :class:`MemoryStore`."""

    def __init__(
        self, store: MemoryStore, identities: Mapping[TableName, Identity], *, step: Step = no_step
    ) -> None:
        self._store = store
        self._identities = identities
        self._step = step
        self._epochs: dict[TableName, dict[int, int]] = {name: {} for name in TableName}

    def open(self) -> None:
        """Create the tables that do not exist; check that the others belong to our topics."""
        check_partitions(self._identities.values())
        with self._store.lock:
            for name, identity in self._identities.items():
                fresh = MemoryTable(TABLES[name].schema.empty_table(), identity.as_properties())
                table = self._store.tables.setdefault(name, fresh)
                identity.check(f"memory://{name}", table.properties)

    def take_over(self, shards: Collection[int]) -> Ownership:
        """Become the only writer of these shards, in every table."""
        with self._store.lock:
            self._store.check_room()
            kept, next_offsets, last_messages, uncounted = frozenset(shards), {}, {}, {}
            for name, table in self._store.tables.items():
                mine = self._epochs[name]
                for shard in shards:
                    found = table.epochs.get(shard, 0)
                    if mine.get(shard) != found:
                        mine[shard] = table.epochs[shard] = found + 1
                        kept -= {shard}
                next_offsets[name] = {shard: table.positions.get(shard) for shard in shards}
                last_messages[name] = {shard: table.last_messages.get(shard) for shard in shards}
                uncounted[name] = frozenset(shards) & {
                    shard for shard in table.positions if (shard, COUNTED) not in table.counts
                }
                self._step(f"claimed:{name}")
            return Ownership(kept, next_offsets, last_messages, uncounted)

    def ids(self, table: TableName, shards: Collection[int]) -> Iterator[pa.RecordBatch]:
        """Yield the shard and the id columns of all rows of these shards, in any order."""
        with self._store.lock:
            rows = self._store.tables[table].rows
        rows = rows.filter(pc.is_in(rows["shard"], pa.array(sorted(shards), pa.int32())))
        yield from rows.select(["shard", *TABLES[table].id_columns]).to_batches()

    def commit(self, table: TableName, batch: Batch) -> None:
        """Store rows and positions, all or nothing; a batch that is already stored is skipped."""
        with self._store.lock:
            stored = self._store.tables[table]
            self._check_owned(table, batch.advances.keys())
            self._step(f"checked:{table}")
            found = {shard: stored.positions.get(shard) for shard in batch.advances}
            if moved := [s for s, step in batch.advances.items() if found[s] != step.expected]:
                if all(found[s] == step.next for s, step in batch.advances.items()):
                    return
                raise Fenced(table, moved)
            self._store.check_room()
            self._step(f"written:{table}")
            stored.rows = pa.concat_tables([stored.rows, batch.rows])
            for shard, step in batch.advances.items():
                stored.positions[shard] = step.next
                if step.last is not None:
                    stored.last_messages[shard] = step.last
            stored.counts.update(batch.counts)
            self._step(f"committed:{table}")

    def compact(self, table: TableName) -> None:
        """Do nothing, because an in-memory table has no files."""
        with self._store.lock:
            self._store.tables[table].rows = self._store.tables[table].rows.combine_chunks()

    def vacuum(self, table: TableName, retention_hours: int) -> int:  # noqa: ARG002
        """Delete nothing, because memory keeps no replaced files."""
        return 0

    def _check_owned(self, name: TableName, shards: Collection[int]) -> None:
        mine, found = self._epochs[name], self._store.tables[name].epochs
        if lost := {s for s in shards if found.get(s, 0) != mine.get(s)}:
            raise Fenced(name, lost)
