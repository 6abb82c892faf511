"""Which partitions are paused, and why: not prepared, suspect, a full backlog or a held stage."""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum

from promptmill.stream.intake import OrderedIntake
from promptmill.stream.partitions import Lane, Lanes
from promptmill.stream.ports import Partition, Source
from promptmill.stream.settings import LoopSettings


class Hold(Enum):
    """Who holds a stage; each releases only its own hold."""

    DRAIN = "drain"
    PRESSURE = "pressure"


class Pauses:
    """Keeps the source's pauses equal to what the lanes need.

    A lane is paused when its backlog reaches the high-water mark and resumed below half of
    it, so that a pause (which throws away what the client has prefetched) is worth its cost.
    A source forgets its pauses at a rebalance, unless a partition is assigned again without
    having left; new lanes start as not paused, so :meth:`begin` makes both agree.
    """

    def __init__(
        self, source: Source, lanes: Lanes, intake: OrderedIntake, settings: LoopSettings
    ) -> None:
        self._source = source
        self._intake = intake
        self._lanes = lanes
        self._high = settings.prefetch
        self._high_bytes = settings.prefetch_bytes
        self._holds: set[Hold] = set()

    @property
    def held(self) -> bool:
        """Whether everything is paused."""
        return bool(self._holds)

    def hold(self, hold: Hold) -> None:
        """Pause everything until :meth:`release` of all holds.

        But for lanes whose orphans wait to be adopted: that happens when their records are
        delivered again, and a drain would wait for them in vain.
        """
        self._holds.add(hold)
        self.apply()

    def release(self, hold: Hold) -> None:
        """Pause only what is full, unless something else holds."""
        self._holds.discard(hold)
        self.apply()

    def begin(self, partitions: Collection[Partition]) -> None:
        """These have new lanes: pause again what is needed."""
        self._source.resume(partitions)
        self.apply()

    def apply(self) -> None:
        """Pause and resume whatever differs from what is needed."""
        for lane in self._lanes:
            self._set(lane, needed=self._is_needed(lane))

    def relax(self, lane: Lane) -> None:
        """Resume this lane if it no longer needs its pause."""
        if lane.paused and not lane.closed:
            self._set(lane, needed=self._is_needed(lane))

    def _is_needed(self, lane: Lane) -> bool:
        if lane.preparing or lane.tracker.full or self._intake.is_suspect(lane.partition):
            return True
        if self.held:
            return not self._lanes.awaits_orphans(lane.partition)
        share = 2 if lane.paused else 1
        return (
            len(lane.backlog) * share >= self._high
            or lane.backlog_bytes * share >= self._high_bytes
        )

    def _set(self, lane: Lane, *, needed: bool) -> None:
        if needed == lane.paused:
            return
        lane.paused = needed
        (self._source.pause if needed else self._source.resume)([lane.partition])
