"""Takeover of shards: claim them in every table, read their rows, continue from there."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import structlog

from promptmill.lake.identity import check_end, check_last, is_of
from promptmill.lake.ports import COUNTED, Advance, Batch, Ownership, Sink, TableName
from promptmill.lake.tables import TABLES
from promptmill.runtime.memory import release_unused_memory
from promptmill.store.buffer import Buffer
from promptmill.store.flushing import commit_offsets
from promptmill.store.loading import load_indexes
from promptmill.store.shards import Shards
from promptmill.stream.lost_records import LogCheck
from promptmill.stream.ports import Partition, Source

log = structlog.get_logger(__name__)

NextOffsets: TypeAlias = Mapping[TableName, Mapping[int, int | None]]


@dataclass(frozen=True, slots=True)
class Takeover:
    """Takes over shards, and opens their partitions at the positions of the tables."""

    source: Source
    sink: Sink
    shards: Shards
    buffer: Buffer
    check: LogCheck

    async def run(self) -> bool:
        """Become the owner of the complete shards that wait; return whether any was opened.

        The index is read after the last claim: from then on no earlier owner can add a row.

        Raises:
            LostRecords: a log begins beyond the table's position, or beyond 0 if the table has no
                rows of the shard.
            Misconfigured: a log ends before it, or the table's last message is not the one
                that the log holds there (the topic was deleted and created again).
            Transient: the storage or the broker does not answer.
        """
        wanted, generation = self.shards.ready, self.shards.generation
        if not wanted:
            return False
        ownership = await asyncio.to_thread(self.sink.take_over, wanted)
        unread = wanted - (ownership.kept & self.shards.indexes.keys())
        # The next attempt keeps what it finds, also of shards that another owner had meanwhile.
        self.shards.forget(unread)
        # Kept even if the assignment changes meanwhile: the claims say whether it still holds.
        self.shards.indexes |= await asyncio.to_thread(load_indexes, self.sink, unread)
        await asyncio.to_thread(release_unused_memory)
        await asyncio.to_thread(self._count, ownership)
        starts = await self._starts(ownership, wanted)
        stored = await asyncio.to_thread(self._pass_over, ownership.next_offsets, starts)
        if generation != self.shards.generation:
            return False  # once more, with what is ours now
        self.shards.settle(wanted, stored)
        for partition, offset in starts.items():
            self.source.seek(partition, offset)
            self.buffer.order.expect(partition, offset)
        # An earlier owner may have died between its commit and telling Kafka.
        await commit_offsets(self.source, {p: at for p in starts if (at := self.shards.stored[p])})
        log.info("shards_taken_over", shards=sorted(wanted), read=len(unread))
        return True

    def _count(self, ownership: Ownership) -> None:
        """Count the rows that earlier versions stored without counts, once."""
        for table, shards in ownership.uncounted.items():
            stays = {s: Advance(at, at) for s in shards if (at := ownership.next_offsets[table][s])}
            if not stays:
                continue
            counts = {(shard, COUNTED): 1 for shard in stays}
            for shard in stays:
                of_table = self.shards.indexes[shard].counts.of(table)
                counts |= {(shard, run): number for run, number in of_table.items()}
            self.sink.commit(table, Batch(TABLES[table].schema.empty_table(), stays, counts))
            log.info("runs_counted", table=str(table), shards=sorted(stays))

    async def _starts(self, ownership: Ownership, wanted: Collection[int]) -> dict[Partition, int]:
        bounds = await self.source.bounds(self.shards.partitions(wanted))
        starts = {}
        for partition, (begin, end) in bounds.items():
            table = self.shards.tables[partition.topic]
            stored = ownership.next_offsets[table][partition.number]
            starts[partition] = 0 if stored is None else stored
            check_end(table, partition.number, starts[partition], begin, end)
        await self._check_identity(ownership, {p: begin for p, (begin, _) in bounds.items()})
        return await self.check.resume(starts, bounds)

    async def _check_identity(self, ownership: Ownership, begins: Mapping[Partition, int]) -> None:
        """Compare the last stored messages with the log, as far as the log still has them."""
        lasts: dict[Partition, tuple[int, int]] = {}
        for partition, begin in begins.items():
            table, shard = self.shards.tables[partition.topic], partition.number
            stored = ownership.next_offsets[table][shard]
            last = ownership.last_messages[table][shard]
            if stored is not None and last is not None and is_of(last, stored) and stored > begin:
                lasts[partition] = stored - 1, last
        found = await self.source.messages_at({p: at for p, (at, _) in lasts.items()})
        for partition, (at, last) in lasts.items():
            table = self.shards.tables[partition.topic]
            check_last(table, found.get(partition), partition.number, at, last)

    def _pass_over(self, stored: NextOffsets, starts: Mapping[Partition, int]) -> NextOffsets:
        """Move the tables' positions over accepted losses, and return the new positions."""
        moved = {table: dict(offsets) for table, offsets in stored.items()}
        for partition, start in starts.items():
            table, shard = self.shards.tables[partition.topic], partition.number
            before = moved[table][shard]
            if start > (before or 0):
                step = Advance(before, start)
                none = TABLES[table].schema.empty_table()
                self.sink.commit(table, Batch(none, {shard: step}, {(shard, COUNTED): 1}))
                moved[table][shard] = start
        return moved
