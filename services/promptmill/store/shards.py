"""The shards of this sink, and what is known of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from promptmill.lake.ports import TableName
from promptmill.store.index import SettledIndex
from promptmill.stream.layout import DataSetLayout
from promptmill.stream.ports import Partition


@dataclass(slots=True)
class Shards:
    """The assignment of one member as shards, which are partitions of the same number.

    All messages of a prompt are in the partition of the same number in every topic. A shard is
    therefore consumed only while all of its partitions are assigned to this member.

    Attributes:
        tables: the tables by full topic name.
        layout: the layout of the tables. Partitions beyond it were added later. Their messages
            are published again and not stored, so they need not be assigned together.
        assigned: the partitions of this member.
        waiting: shards that are assigned and not yet taken over.
        indexes: the indexes by shard; the index of a revoked shard is kept, in case the shard
            returns before another sink has claimed it.
        stored: the next offset of each partition in its table.
        generation: the number of changes of the assignment.
    """

    tables: Mapping[str, TableName]
    layout: DataSetLayout | None = None
    assigned: set[Partition] = field(default_factory=set)
    waiting: set[int] = field(default_factory=set)
    indexes: dict[int, SettledIndex] = field(default_factory=dict)
    stored: dict[Partition, int | None] = field(default_factory=dict)
    generation: int = 0

    def assign(self, partitions: Collection[Partition]) -> None:
        """Add assigned partitions; their shards wait to be taken over."""
        self.generation += 1
        self.assigned |= set(partitions)
        self.waiting |= {partition.number for partition in partitions}

    def release(self, partitions: Collection[Partition]) -> None:
        """Remove revoked partitions; a shard that keeps some of them waits for the others."""
        self.generation += 1
        self.assigned -= set(partitions)
        self.await_takeover({partition.number for partition in partitions})

    def await_takeover(self, shards: Collection[int]) -> None:
        """Mark the assigned ones of these shards to be taken over again."""
        self.waiting = (self.waiting | set(shards)) & {p.number for p in self.assigned}

    def settle(
        self,
        shards: Collection[int],
        next_offsets: Mapping[TableName, Mapping[int, int | None]],
    ) -> None:
        """Record a takeover, and drop what is known of shards that are not assigned."""
        self.waiting -= set(shards)
        here = {partition.number for partition in self.assigned}
        self.indexes = {shard: index for shard, index in self.indexes.items() if shard in here}
        for partition in self.partitions(shards):
            self.stored[partition] = next_offsets[self.tables[partition.topic]][partition.number]

    @property
    def ready(self) -> set[int]:
        """Return the complete shards that wait to be taken over."""
        return {s for s in self.waiting if self.assigned.issuperset(self.partitions([s]))}

    @property
    def incomplete(self) -> set[int]:
        """Return the shards of which another member has some partitions."""
        return self.waiting - self.ready

    def partitions(self, shards: Collection[int]) -> list[Partition]:
        """Return all topics' partitions of these numbers; added ones only if assigned."""
        named = (Partition(topic, shard) for shard in shards for topic in self.tables)
        return [p for p in named if not self._is_added(p.number) or p in self.assigned]

    def _is_added(self, shard: int) -> bool:
        return self.layout is not None and shard >= self.layout.partitions

    def forget(self, shards: Collection[int]) -> None:
        """Drop what is known of these shards."""
        for shard in shards:
            self.indexes.pop(shard, None)
