"""Run counts: the outcome of every published prompt, read from the tables alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import TypeAlias

import pyarrow as pa
from pyarrow.dataset import Expression, field, scalar

from promptmill.lake.dead_letters import scan_letters
from promptmill.lake.ids import keys_of
from promptmill.lake.keys import NONE, Keys, texts_of_keys, union, without
from promptmill.lake.ports import TableName
from promptmill.lake.reader import DeltaReader, Snapshot
from promptmill.lake.tables.dead_letters import DEAD

Outcomes: TypeAlias = tuple[Keys, Keys, Keys, Keys]

READ_ORDER = (
    TableName.DEAD_LETTERS,
    TableName.REJECTS,
    TableName.RECORDS,
    TableName.PROMPTS,
)
"""The order of reading tables, which is that of a prompt's states.

A prompt that is replayed and accepted between two reads is found in both tables and counts as
accepted. The prompts are read last, so that every settled prompt is among the published ones."""


@dataclass(frozen=True, slots=True)
class Counts:
    """The prompts of a run by outcome; the last four numbers add up to ``published``.

    A prompt that was settled before its row in ``prompts`` was read is counted as published.
    """

    published: int
    accepted: int
    rejected: int
    dead: int
    pending: int


@dataclass(frozen=True, slots=True)
class NewRows:
    """The rows that a table has received since a reader's last call.

    Attributes:
        rows: the rows in the order of shard and offset.
        next: the value of ``since`` for the next call. It is always valid, unlike a table
            version, which the log forgets.
    """

    rows: pa.Table
    next: Mapping[int, int]


class RunCounter:
    """The exact counts of one run.

    Later rows can change the state of dead letters only. Each call therefore reads all of
    ``dead_letters``, and the new rows of the other tables. A prompt takes 17 bytes for each table.
    """

    def __init__(self, reader: DeltaReader, run: str) -> None:
        self._reader = reader
        self._run = run
        self._known: dict[TableName, Keys] = {}
        self._read_to: dict[TableName, Mapping[int, int]] = {}
        self._versions: tuple[int, ...] = ()
        self._outcome: Outcomes = (NONE, NONE, NONE, NONE)

    def counts(self) -> Counts:
        """Count the prompts by outcome, exactly, at one version of each table."""
        published, accepted, rejected, dead = self._outcomes()
        settled = union(accepted, rejected, dead)
        return Counts(
            published=len(published),
            accepted=len(accepted),
            rejected=len(rejected),
            dead=len(dead),
            pending=len(published) - len(settled),
        )

    def missing(self) -> list[str]:
        """Return the published prompts that are not settled."""
        published, *outcomes = self._outcomes()
        return texts_of_keys(without(published, union(*outcomes)))

    def _outcomes(self) -> Outcomes:
        """Return the prompts by outcome at the newest version of each table."""
        snapshots = {name: self._reader.snapshot(name) for name in READ_ORDER}
        versions = tuple(-1 if each is None else each.version for each in snapshots.values())
        if versions != self._versions:
            self._outcome = self._sort_out(snapshots)
            self._versions = versions
        return self._outcome

    def _sort_out(self, snapshots: Mapping[TableName, Snapshot | None]) -> Outcomes:
        """Return published, accepted, rejected and dead prompts; the last three are disjoint."""
        accepted = self._newest(TableName.RECORDS, snapshots)
        rejected = without(self._newest(TableName.REJECTS, snapshots), accepted)
        dead = _dead(snapshots[TableName.DEAD_LETTERS], self._run)
        dead = without(without(dead, accepted), rejected)
        published = self._newest(TableName.PROMPTS, snapshots)
        return union(published, accepted, rejected, dead), accepted, rejected, dead

    def _newest(self, name: TableName, snapshots: Mapping[TableName, Snapshot | None]) -> Keys:
        """Return all prompts of the run in a table that is only appended to."""
        known = self._known.get(name, NONE)
        if (snapshot := snapshots[name]) is None:
            return known
        since = self._read_to.get(name, {})
        found = keys_of(snapshot.scan(["prompt_id"], (field("run") == self._run) & _beyond(since)))
        if len(found):
            known = self._known[name] = union(known, found)
        self._read_to[name] = snapshot.next_offsets()
        return known


def _dead(snapshot: Snapshot | None, run: str) -> Keys:
    if snapshot is None:
        return NONE
    wanted = (field("run") == run) & field("prompt_id").is_valid()
    return keys_of(scan_letters(snapshot, ["prompt_id"], wanted, state=DEAD))


def read_tail(snapshot: Snapshot, since: Mapping[int, int], run: str | None = None) -> NewRows:
    """Read the rows from ``since`` (next offsets by shard; missing shards begin at 0)."""
    wanted = _beyond(since)
    if run is not None:
        wanted &= field("run") == run
    rows = pa.Table.from_batches(snapshot.scan(None, wanted), snapshot.schema)
    ordered = rows.sort_by([("shard", "ascending"), ("shard_offset", "ascending")])
    return NewRows(ordered, snapshot.next_offsets())


def _beyond(since: Mapping[int, int]) -> Expression:
    if not since:
        return scalar(True)
    known = [(field("shard") == s) & (field("shard_offset") >= at) for s, at in since.items()]
    others = ~field("shard").isin(sorted(since))
    # The library skips files with only older rows by their statistics.
    oldest = field("shard_offset") >= min(since.values())
    return others | (oldest & reduce(or_, known))
