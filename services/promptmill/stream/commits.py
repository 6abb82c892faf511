"""Commits: one at a time, of what is done, for lanes that are still open."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress

import structlog

from promptmill.runtime.errors import Stale, Transient
from promptmill.runtime.fault_points import reach
from promptmill.stream.partitions import Lane, Lanes
from promptmill.stream.ports import Partition, Position, Source
from promptmill.stream.settings import LoopSettings

log = structlog.get_logger(__name__)

MIN_INTERVAL_S = 0.1
"""The coordinator of quick work is not asked more often than this."""


class Committer:
    """Commits the finished prefix of every lane: at an interval, early when much has finished.

    What is finished and not committed is done again after a crash, so as many records as can
    be at work at once do not wait for the interval.
    """

    def __init__(self, source: Source, lanes: Lanes, settings: LoopSettings) -> None:
        self._source = source
        self._lanes = lanes
        self._interval_s = settings.commit_interval_s
        self._limit_s = settings.failover_s
        self._one_at_a_time = asyncio.Lock()
        self._at_most = settings.slots
        self._finished = 0
        self._early = asyncio.Event()

    def note_finished(self) -> None:
        """One more record waits to be committed."""
        self._finished += 1
        if self._finished >= self._at_most:
            self._early.set()

    async def run(self) -> None:
        """Commit when it is time, until cancelled."""
        pause = min(MIN_INTERVAL_S, self._interval_s)
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval_s):
                    await self._early.wait()
            await self.commit(list(self._lanes))
            await asyncio.sleep(pause)

    async def commit(self, lanes: Collection[Lane], limit_s: float | None = None) -> bool:
        """Commit what has changed; ``False`` when it was not acknowledged.

        A commit that fails is no loss: the next one says more, and what nobody commits is
        done again.
        """
        async with self._one_at_a_time:
            self._finished = 0
            self._early.clear()
            positions = _changed(lanes)
            if not positions:
                return True
            try:
                reach("commit.begin")
                async with asyncio.timeout(limit_s or self._limit_s):
                    await self._source.commit(positions)
                reach("commit.acknowledged")
            except (Stale, Transient, TimeoutError) as error:
                log.warning("commit_failed", partitions=len(positions), error=repr(error))
                return False
            for lane in lanes:
                if (position := positions.get(lane.partition)) and not lane.closed:
                    lane.tracker.committed(position)
            return True


def _changed(lanes: Collection[Lane]) -> dict[Partition, Position]:
    offers = ((lane.partition, lane.tracker.to_commit()) for lane in lanes if not lane.closed)
    return {partition: position for partition, position in offers if position is not None}
