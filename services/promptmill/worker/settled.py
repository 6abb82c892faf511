"""Skips prompts that the store shows as settled, before they are generated again.

A cluster deletes the offsets of a group that was inactive for ``offsets.retention.minutes``; its
workers then begin at the start of the topic. The store's tables still show which prompts are
settled, so they are read when the group's position in an assigned partition is behind the tables.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from promptmill.kafka.cluster import describe_log
from promptmill.stream.ports import Partition
from promptmill.stream.stage_settings import StageSettings
from promptmill.stream.start_offsets import Prepare, Start
from promptmill_schemas import Prompt
from promptmill_schemas.topics import DEAD_LETTERS, RECORDS, REJECTS

if TYPE_CHECKING:  # it loads the store's library, in a thread and only if there is a store
    from promptmill.lake.settled import SettledShard

log = structlog.get_logger(__name__)

OUTCOME_TOPICS: Final = (RECORDS, REJECTS, DEAD_LETTERS)
READ_LIMIT_S: Final = 120.0
"""Seconds for which a partition waits for the tables before its prompts are generated."""


class ReadProbe(Protocol):
    """Receives events about reads; see :mod:`promptmill.runtime.telemetry.metrics`."""

    def settled_read(self, result: str) -> None:
        """Count a read of the store with the result ``read``, ``unneeded`` or ``failed``."""

    def watch(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Add a gauge whose value is read at each scrape."""


class Loop(Protocol):
    """The part of a :class:`~promptmill.stream.loop.StreamLoop` that is used here."""

    @property
    def committed(self) -> Mapping[Partition, int]:
        """The committed offset of each partition of this member."""

    def prepare_with(self, prepare: Prepare) -> None:
        """Await ``prepare`` at each assignment. Call this before the loop runs."""


@dataclass(frozen=True, slots=True)
class _Known:
    """The settled prompts of one partition, kept until the group has committed ``end``."""

    settled: SettledShard
    end: int


class SettledPrompts:
    """The settled prompts of this worker's partitions.

    They are kept until the group has committed the offset that was the end of the log when the
    tables were read. Skipping prompts only saves work: if the store cannot be read or belongs to
    another cluster, all prompts are generated.
    """

    def __init__(self, settings: StageSettings, probe: ReadProbe) -> None:
        self._settings = settings
        self._probe = probe
        self._known: dict[Partition, _Known] = {}
        self._committed: Callable[[], Mapping[Partition, int]] = dict

    def follow(self, loop: Loop) -> None:
        """Read the tables at the loop's assignments, and forget prompts at its commits.

        Call this before the loop runs.
        """
        self._committed = lambda: loop.committed
        loop.prepare_with(self.prepare)
        self._probe.watch(
            "settled_known", "settled prompts in memory, which this worker skips", self._size
        )

    def is_settled(self, prompt: Prompt) -> bool:
        """Return whether no outcome of this prompt can become a row any more."""
        if not self._known:
            return False
        self._forget_passed()
        return any(
            known.settled.is_settled(prompt.prompt_id, prompt.replays)
            for known in self._known.values()
        )

    async def prepare(self, starts: Mapping[Partition, Start]) -> None:
        """Read the settled prompts of partitions whose group is behind the tables."""
        wanted = {p: start for p, start in starts.items() if start.committed.offset < start.end}
        if not wanted:
            return
        try:
            async with asyncio.timeout(READ_LIMIT_S):
                found = await self._read({p.number: s.committed.offset for p, s in wanted.items()})
        except Exception as error:  # noqa: BLE001 - an optimisation must not end a worker
            log.warning("settled_unknown", store=self._settings.store_uri, error=repr(error))
            self._probe.settled_read("failed")
            return
        self._probe.settled_read("read" if found else "unneeded")
        for partition, start in wanted.items():
            if settled := found.get(partition.number):
                self._known[partition] = _Known(settled, start.end)
        if found:
            log.info("settled_read", partitions=len(found), prompts=sum(map(len, found.values())))

    async def _read(self, committed: Mapping[int, int]) -> dict[int, SettledShard]:
        settings = self._settings
        topics = [settings.topic_prefix + topic.name for topic in OUTCOME_TOPICS]
        cluster = (await describe_log(settings.require_kafka(), topics)).cluster_id
        return await asyncio.to_thread(
            _read_behind, settings.store_uri, cluster, settings.topic_prefix, committed
        )

    def _forget_passed(self) -> None:
        committed = self._committed()
        passed = [p for p, known in self._known.items() if committed.get(p, known.end) >= known.end]
        for partition in passed:
            del self._known[partition]

    def _size(self) -> int:
        self._forget_passed()
        return sum(len(known.settled) for known in self._known.values())


def _read_behind(
    store: str, cluster: str, prefix: str, committed: Mapping[int, int]
) -> dict[int, SettledShard]:
    """Read the settled prompts of shards whose tables hold more outcomes than the group consumed.

    A group that has kept its offsets is ahead of the tables, except for records in flight.
    """
    from promptmill.lake.identity import Identity
    from promptmill.lake.reader import DeltaReader
    from promptmill.lake.settled import count_outcomes, open_outcomes, read_settled
    from promptmill.lake.tables import TABLES

    tables = DeltaReader(store)
    layout = tables.layout()
    if layout is None:
        return {}
    identities = {
        name: Identity(cluster, prefix + spec.topic.name, layout) for name, spec in TABLES.items()
    }
    snapshots = open_outcomes(tables, identities)
    outcomes = count_outcomes(snapshots, committed.keys())
    behind = [shard for shard, offset in committed.items() if outcomes[shard] > offset]
    return read_settled(snapshots, behind) if behind else {}
