"""What a sink is: tables that take rows and the position they stand for in one commit.

The table is the truth. For each Kafka topic there is one table, and for each of the topic's
partitions (its *shards*) the table knows the offset that comes next. Rows and that offset
change together or not at all, so a writer that died is continued exactly where it ended.

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
"""The run under which a shard says that its rows are counted by run; no run has an empty name."""


@dataclass(frozen=True, slots=True)
class Advance:
    """A shard's step in one table.

    Attributes:
        expected: the next offset that the writer believes to be stored; ``None`` when the
            table has never taken anything from this shard.
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
        advances: by shard, for every shard that has a row in ``rows`` and any other that
            moves on without one. A shard may have rows and not move.
        counts: by shard and run, how many of the run's prompts the shard has in the table once the
            rows are stored; of dead letters, prompts with an open one. Numbers, not differences,
            so that a repetition changes nothing.
    """

    rows: pa.Table
    advances: Mapping[int, Advance]
    counts: Mapping[tuple[int, str], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Adoption:
    """What a writer finds when it takes shards over.

    Attributes:
        kept: shards that no other writer has claimed since this one did; what was derived
            from their rows is still true.
        next_offsets: by table and shard; ``None`` when the table has nothing of the shard.
        last_messages: by table and shard, what identifies the message before the next offset;
            ``None`` where the table does not know it.
        uncounted: by table, shards with rows and without counts by run: an earlier version
            stored them.
    """

    kept: frozenset[int]
    next_offsets: Mapping[TableName, Mapping[int, int | None]] = field(default_factory=dict)
    last_messages: Mapping[TableName, Mapping[int, int | None]] = field(default_factory=dict)
    uncounted: Mapping[TableName, frozenset[int]] = field(default_factory=dict)


class Fenced(Stale):
    """Another writer has claimed these shards; nothing of the batch was written."""

    def __init__(self, table: TableName, shards: Collection[int]) -> None:
        self.table = table
        self.shards = frozenset(shards)
        named = ", ".join(str(shard) for shard in sorted(self.shards))
        super().__init__(
            f"{table}: another writer has taken over shards {named}; take them over again before "
            "writing"
        )


Step: TypeAlias = Callable[[str], None]
"""Told the name of each step of a commit as it is reached; tests end a process there."""


def no_step(_name: str) -> None:
    """The hook that does nothing."""


class Sink(Protocol):
    """One writer of a store.

    Every call may raise ``Transient`` (the storage cannot do it now; nothing changed, or what
    changed is found out by the next try) and ``Misconfigured`` (these are not our tables).
    """

    def open(self) -> None:
        """Create the tables that do not exist; check that the others belong to our topics."""

    def adopt(self, shards: Collection[int]) -> Adoption:
        """Become the only writer of these shards, in every table.

        When this returns, no commit of an earlier owner to these shards can succeed, so what
        is read from now on is final but for our own commits.
        """

    def ids(self, table: TableName, shards: Collection[int]) -> Iterator[pa.RecordBatch]:
        """The shard and the id columns of all rows of these shards, in any order."""

    def commit(self, table: TableName, batch: Batch) -> None:
        """Store rows and positions, all or nothing; a batch that is already stored is left.

        What is stored is recognised by its position. The rows of a batch that moves no shard are
        appended each time, so they must be such that a repetition changes nothing.

        Raises:
            Fenced: a shard has another owner, or stands elsewhere than expected.
        """

    def compact(self, table: TableName) -> None:
        """Merge small files; readers and writers go on meanwhile, this sink's too."""
