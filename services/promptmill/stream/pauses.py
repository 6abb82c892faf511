"""Pauses partitions that are being prepared or suspect, those with a backlog while the member has
enough of it, and all of them while held.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum
from typing import Final

from promptmill.stream.intake import OrderedIntake
from promptmill.stream.partitions import Partitions, PartitionState
from promptmill.stream.ports import Partition, Source
from promptmill.stream.settings import LoopSettings

SLOTS_AHEAD: Final = 4
"""The limit is at least so many times the slots, so that fetching keeps up with short work."""


class Hold(Enum):
    """The reason for which a stage is held; each hold is released separately."""

    DRAIN = "drain"
    PRESSURE = "pressure"


class Pauses:
    """Pauses and resumes partitions of the source.

    The limit applies to the backlogs of all partitions together, because the memory of a worker
    must not depend on how many partitions it has. From the limit on, until half of it is left, a
    partition is paused while it has a backlog. The others stay open, so that records of a few busy
    partitions do not keep out the rest, until twice the limit is reached. A pause discards the
    records that the client has prefetched, so it should not happen often. A source forgets its
    pauses at a rebalance, unless a partition stays assigned, while new partition states start as
    not paused; :meth:`begin` makes both agree.
    """

    def __init__(
        self, source: Source, partitions: Partitions, intake: OrderedIntake, settings: LoopSettings
    ) -> None:
        self._source = source
        self._intake = intake
        self._partitions = partitions
        self._high = max(settings.prefetch, SLOTS_AHEAD * settings.slots)
        self._high_bytes = settings.prefetch_bytes
        self._is_full = False
        self._holds: set[Hold] = set()

    @property
    def held(self) -> bool:
        """Whether the whole stage is held."""
        return bool(self._holds)

    def hold(self, hold: Hold) -> None:
        """Pause all partitions until every hold is released.

        Partitions with detached records stay unpaused: those records are reattached when they are
        delivered again, and a drain waits for them.
        """
        self._holds.add(hold)
        self.apply()

    def release(self, hold: Hold) -> None:
        """Release this hold, and resume the partitions that nothing else pauses."""
        self._holds.discard(hold)
        self.apply()

    def begin(self, partitions: Collection[Partition]) -> None:
        """Pause those of the newly assigned partitions that need it."""
        self._source.resume(partitions)
        self.apply()

    def apply(self) -> None:
        """Pause and resume partitions where that is needed."""
        self._is_full = self._fill() >= (0.5 if self._is_full else 1.0)
        for state in self._partitions:
            self._set(state, needed=self._is_needed(state))

    def relax(self, state: PartitionState) -> None:
        """Resume this partition if it no longer needs its pause, or all if enough was taken."""
        if self._is_full and self._fill() < 0.5:
            self.apply()
        elif state.paused and not state.closed:
            self._set(state, needed=self._is_needed(state))

    def _fill(self) -> float:
        """The backlog of all partitions, as a share of the limit."""
        backlog = self._partitions.backlog
        return max(backlog.records / self._high, backlog.bytes / self._high_bytes)

    def _is_needed(self, state: PartitionState) -> bool:
        if state.preparing or state.tracker.full or self._intake.is_suspect(state.partition):
            return True
        if self.held:
            return not self._partitions.has_detached(state.partition)
        return self._is_full and (bool(state.backlog) or self._fill() >= 2.0)

    def _set(self, state: PartitionState, *, needed: bool) -> None:
        if needed == state.paused:
            return
        state.paused = needed
        (self._source.pause if needed else self._source.resume)([state.partition])
