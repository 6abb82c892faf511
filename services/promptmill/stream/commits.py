"""Commits the offsets of finished records, one request at a time, for partitions still owned."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress

import structlog

from promptmill.runtime.errors import Stale, Transient
from promptmill.runtime.fault_points import fault_point
from promptmill.stream.partitions import Partitions, PartitionState
from promptmill.stream.ports import Partition, Position, Source
from promptmill.stream.settings import LoopSettings

log = structlog.get_logger(__name__)

MIN_INTERVAL_S = 0.1
"""The shortest time between two commits, however quickly records finish."""


class Committer:
    """Commits the durable prefix of every partition, at an interval.

    Records that are finished but not committed are processed again after a crash. So a commit
    does not wait for the interval once as many records have finished as there are slots.
    """

    def __init__(self, source: Source, partitions: Partitions, settings: LoopSettings) -> None:
        self._source = source
        self._partitions = partitions
        self._interval_s = settings.commit_interval_s
        self._limit_s = settings.failover_s
        self._one_at_a_time = asyncio.Lock()
        self._at_most = settings.slots
        self._finished = 0
        self._early = asyncio.Event()

    def note_finished(self) -> None:
        """Count one more finished record that is not committed yet."""
        self._finished += 1
        if self._finished >= self._at_most:
            self._early.set()

    async def run(self) -> None:
        """Commit periodically until cancelled."""
        pause = min(MIN_INTERVAL_S, self._interval_s)
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval_s):
                    await self._early.wait()
            await self.commit(list(self._partitions))
            await asyncio.sleep(pause)

    async def commit(
        self, states: Collection[PartitionState], limit_s: float | None = None
    ) -> bool:
        """Commit the positions that have changed.

        A failed commit loses nothing: the next commit includes its positions, and records that
        are never committed are processed again.

        Args:
            limit_s: seconds to wait for the acknowledgement; ``None`` waits ``failover_s``.

        Returns:
            ``False`` if the commit was not acknowledged.
        """
        async with self._one_at_a_time:
            self._finished = 0
            self._early.clear()
            positions = _changed(states)
            if not positions:
                return True
            try:
                fault_point("commit.begin")
                async with asyncio.timeout(limit_s or self._limit_s):
                    await self._source.commit(positions)
                fault_point("commit.acknowledged")
            except (Stale, Transient, TimeoutError) as error:
                log.warning("commit_failed", partitions=len(positions), error=repr(error))
                return False
            for state in states:
                if (position := positions.get(state.partition)) and not state.closed:
                    state.tracker.committed(position)
            return True


def _changed(states: Collection[PartitionState]) -> dict[Partition, Position]:
    offers = ((state.partition, state.tracker.to_commit()) for state in states if not state.closed)
    return {partition: position for partition, position in offers if position is not None}
