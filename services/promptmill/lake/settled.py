"""The settled prompts of a shard: those with an outcome in the tables.

Only stored outcomes count, because a claim in Redis is not yet a published decision. A decision is
final. A dead prompt is open again for messages with more replays than its dead letters have.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from pyarrow.dataset import field as column

from promptmill.lake.identity import Identity
from promptmill.lake.ids import integers_of, octet_keys
from promptmill.lake.keys import NONE, Keys, contains, union
from promptmill.lake.ports import TableName
from promptmill.lake.reader import DeltaReader, Snapshot

DECISIONS = (TableName.RECORDS, TableName.REJECTS)
OUTCOMES = (*DECISIONS, TableName.DEAD_LETTERS)


@dataclass(frozen=True, slots=True)
class SettledShard:
    """The settled prompts of one shard: 16 bytes each, or about 150 for a dead prompt.

    Attributes:
        decided: the accepted and rejected prompts.
        dead: the highest number of replays among a prompt's dead letters.
    """

    decided: Keys = field(default_factory=NONE.copy)
    dead: Mapping[str, int] = field(default_factory=dict)

    def is_settled(self, prompt_id: str, replays: int) -> bool:
        """Return whether no message of the prompt with this number of replays can become a row."""
        return self.dead.get(prompt_id, -1) >= replays or contains(self.decided, prompt_id)

    def __len__(self) -> int:
        return len(self.decided) + len(self.dead)


def open_outcomes(
    tables: DeltaReader, identities: Mapping[TableName, Identity]
) -> dict[TableName, Snapshot]:
    """Return the latest versions of the existing tables of outcomes.

    Raises:
        Misconfigured: a table belongs to another cluster or topic than ``identities`` name.
        Unavailable: the storage does not answer.
    """
    found = {name: tables.snapshot(name) for name in OUTCOMES}
    snapshots = {name: snapshot for name, snapshot in found.items() if snapshot is not None}
    for name, snapshot in snapshots.items():
        snapshot.check(identities[name])
    return snapshots


def count_outcomes(
    snapshots: Mapping[TableName, Snapshot], shards: Collection[int]
) -> dict[int, int]:
    """Count the messages about outcomes that the tables store, by shard, without reading rows."""
    counts = dict.fromkeys(shards, 0)
    for snapshot in snapshots.values():
        for shard, offset in snapshot.next_offsets(shards).items():
            counts[shard] += offset
    return counts


def read_settled(
    snapshots: Mapping[TableName, Snapshot], shards: Collection[int]
) -> dict[int, SettledShard]:
    """Read the settled prompts of these shards, from two or three narrow columns of every row."""
    decided: dict[int, list[Keys]] = {shard: [] for shard in shards}
    dead: dict[int, dict[str, int]] = {shard: {} for shard in shards}
    for name in DECISIONS:
        for batch in _rows(snapshots.get(name), ("shard", "prompt_id"), shards):
            numbers, keys = integers_of(batch.column(0)), octet_keys(batch.column(1))
            for shard in np.unique(numbers):
                decided[int(shard)].append(keys[numbers == shard])
    letters = snapshots.get(TableName.DEAD_LETTERS)
    for batch in _rows(letters, ("shard", "prompt_id", "replays"), shards):
        for shard, prompt_id, replays in zip(*(c.to_pylist() for c in batch.columns), strict=True):
            dead[shard][prompt_id] = max(dead[shard].get(prompt_id, 0), replays)
    return {shard: SettledShard(union(*decided[shard]), dead[shard]) for shard in shards}


def _rows(
    snapshot: Snapshot | None, columns: tuple[str, ...], shards: Collection[int]
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of these shards that belong to a prompt."""
    if snapshot is not None:
        wanted = column("shard").isin(sorted(shards)) & column("prompt_id").is_valid()
        yield from snapshot.scan(columns, wanted)
