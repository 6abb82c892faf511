"""The port of a sink: tables that store rows and the position after them in one commit.

The tables are authoritative. Each Kafka topic has a table, and for each of the topic's partitions
(the table's *shards*) the table stores the next offset. Rows and offset change together or not at
all, so another writer continues exactly where a dead one ended.

All calls block; callers run them in a thread. One sink is used by one thread at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from promptmill.runtime.errors import Stale

if TYPE_CHECKING:
    import pyarrow as pa


class TableName(StrEnum):
    """The tables of a store, by the name of their folder."""

    PROMPTS = "prompts"
    RECORDS = "records"
    REJECTS = "rejects"
    DEAD_LETTERS = "dead_letters"


COUNTED: Final = ""
"""The name under which a shard records that its rows are counted by run; no run is empty."""


@dataclass(frozen=True, slots=True)
class Advance:
    """The advance of a shard in one table.

    Attributes:
        expected: the next offset that the writer expects in the table; ``None`` if the table has
            nothing of this shard.
        next: the next offset after this commit.
        last: identifies the message at ``next - 1``; see :mod:`promptmill.lake.identity`.
    """

    expected: int | None
    next: int
    last: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Batch:
    """One commit to one table.

    Attributes:
        rows: an Arrow table of the table's schema; it may be empty.
        advances: the steps by shard. A shard may advance without rows, and have rows without
            advancing.
        counts: the number of a run's prompts in a shard after the commit, by shard and run; for
            dead letters, prompts with an open one. They are totals and not differences, so a
            repeated commit changes nothing.
    """

    rows: pa.Table
    advances: Mapping[int, Advance]
    counts: Mapping[tuple[int, str], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ownership:
    """The result of a takeover of shards.

    Attributes:
        kept: shards that no other writer has claimed since this one did, whose indexes are still
            valid.
        next_offsets: the next offset by table and shard; ``None`` if the table has nothing of it.
        last_messages: the number that identifies the message before the next offset, by table
            and shard; ``None`` if the table does not know it.
        uncounted: the shards whose rows an earlier version stored without counts, by table.
    """

    kept: frozenset[int]
    next_offsets: Mapping[TableName, Mapping[int, int | None]] = field(default_factory=dict)
    last_messages: Mapping[TableName, Mapping[int, int | None]] = field(default_factory=dict)
    uncounted: Mapping[TableName, frozenset[int]] = field(default_factory=dict)


class Fenced(Stale):
    """Another writer has claimed these shards, and nothing of the batch was written."""

    def __init__(self, table: TableName, shards: Collection[int]) -> None:
        self.table = table
        self.shards = frozenset(shards)
        named = ", ".join(str(shard) for shard in sorted(self.shards))
        super().__init__(
            f"{table}: another writer has taken over shards {named}; take them over again before "
            "writing"
        )


Step: TypeAlias = Callable[[str], None]
"""A function called with the name of each step of a commit; tests end a process in it."""


def no_step(_name: str) -> None:
    """Do nothing; this is the default hook."""


class Sink(Protocol):
    """One writer of a store.

    Every call may raise ``Transient`` (the storage is unavailable; the next attempt finds out
    whether anything changed) and ``Misconfigured`` (the tables belong to other topics).
    """

    def open(self) -> None:
        """Create missing tables, and check that existing ones belong to these topics."""

    def take_over(self, shards: Collection[int]) -> Ownership:
        """Become the only writer of these shards, in every table.

        When this returns, no commit of an earlier owner to these shards can succeed. From then on
        only this writer changes them.
        """

    def ids(self, table: TableName, shards: Collection[int]) -> Iterator[pa.RecordBatch]:
        """Yield the shard and the ids of all rows of these shards, in any order."""

    def commit(self, table: TableName, batch: Batch) -> None:
        """Store rows and positions, all or nothing; a batch that is already stored is skipped.

        A stored batch is recognised by its positions. The rows of a batch without advances are
        appended each time, so a repetition of them must change nothing.

        Raises:
            Fenced: a shard has another owner or another position than expected.
        """

    def compact(self, table: TableName) -> None:
        """Merge small files, while readers and writers continue."""

    def vacuum(self, table: TableName, retention_hours: int) -> int:
        """Delete the files that were replaced at least this many hours ago; return their number."""
