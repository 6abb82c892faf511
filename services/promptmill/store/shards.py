"""Which shards this sink holds, and what it knows of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from promptmill.lake.ports import TableName
from promptmill.store.index import SettledIndex
from promptmill.stream.layout import Layout
from promptmill.stream.ports import Partition


@dataclass(slots=True)
class Shards:
    """The assignment of one member, seen as shards: partitions of the same number.

    What belongs to one prompt stands in the partition of the same number in every topic, so a
    shard is consumed only when all of its partitions are here.

    Attributes:
        tables: by full topic name.
        layout: of the tables. Partitions beyond it were added later: no row is stored of them,
            what stands there is published again, so they need not be here all together.
        assigned: the partitions of this member.
        waiting: shards that are assigned and not yet adopted.
        indexes: what is settled; kept when a shard leaves, for the case that it comes back
            before anybody else has claimed it.
        stored: the next offset of each partition in its table.
        generation: counts the changes of the assignment.
    """

    tables: Mapping[str, TableName]
    layout: Layout | None = None
    assigned: set[Partition] = field(default_factory=set)
    waiting: set[int] = field(default_factory=set)
    indexes: dict[int, SettledIndex] = field(default_factory=dict)
    stored: dict[Partition, int | None] = field(default_factory=dict)
    generation: int = 0

    def assign(self, partitions: Collection[Partition]) -> None:
        """These are ours now; their shards wait for adoption."""
        self.generation += 1
        self.assigned |= set(partitions)
        self.waiting |= {partition.number for partition in partitions}

    def release(self, partitions: Collection[Partition]) -> None:
        """These have left; a shard of which some are still here waits to be whole again."""
        self.generation += 1
        self.assigned -= set(partitions)
        self.await_adoption({partition.number for partition in partitions})

    def await_adoption(self, shards: Collection[int]) -> None:
        """Those of the shards that are here have to be adopted anew."""
        self.waiting = (self.waiting | set(shards)) & {p.number for p in self.assigned}

    def settle(
        self,
        shards: Collection[int],
        next_offsets: Mapping[TableName, Mapping[int, int | None]],
    ) -> None:
        """These are adopted. What is known of shards that are not here is dropped."""
        self.waiting -= set(shards)
        here = {partition.number for partition in self.assigned}
        self.indexes = {shard: index for shard, index in self.indexes.items() if shard in here}
        for partition in self.partitions(shards):
            self.stored[partition] = next_offsets[self.tables[partition.topic]][partition.number]

    @property
    def ready(self) -> set[int]:
        """Shards that wait for adoption and are whole."""
        return {s for s in self.waiting if self.assigned.issuperset(self.partitions([s]))}

    @property
    def incomplete(self) -> set[int]:
        """Shards that are not whole: some topics' partitions went to another member."""
        return self.waiting - self.ready

    def partitions(self, shards: Collection[int]) -> list[Partition]:
        """Every topic's partition of these numbers; of added ones, those that are here."""
        named = (Partition(topic, shard) for shard in shards for topic in self.tables)
        return [p for p in named if not self._is_added(p.number) or p in self.assigned]

    def _is_added(self, shard: int) -> bool:
        return self.layout is not None and shard >= self.layout.partitions

    def forget(self, shards: Collection[int]) -> None:
        """What is known of these is no longer true."""
        for shard in shards:
            self.indexes.pop(shard, None)
