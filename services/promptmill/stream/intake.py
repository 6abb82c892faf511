"""Checks that the deliveries of a partition follow each other; both loops use it.

A client can deliver offset 12 where 7 was expected for three reasons: 7 to 11 never existed
(transaction markers, compaction), they were deleted before they were read, or the client has
dropped them (aiokafka drops the records that it has drained from healthy partitions when another
partition's batch fails its checksum; a handler's error can lose a batch). Only the log can
tell which. So an unexpected offset makes its partition *suspect*: nothing more is taken from it
until :meth:`OrderedIntake.recheck` has read the bounds of the log and sought back to the
expected offset. If the same offset is delivered again, and the log still begins no later than
the expected offset, then the offsets in between hold no records.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import structlog

from promptmill.runtime.errors import Misconfigured, Stale, Transient, reason_of
from promptmill.stream.lost_records import LogCheck
from promptmill.stream.ports import Delivery, Partition, Source
from promptmill.stream.settings import LoopSettings

log = structlog.get_logger(__name__)


class Rechecker:
    """Rechecks suspect partitions, with back-off while the broker does not answer.

    Args:
        on_reopened: called when partitions are no longer suspect.
        on_failed: called with the reason of each failed attempt.
    """

    def __init__(
        self,
        source: Source,
        intake: OrderedIntake,
        check: LogCheck,
        settings: LoopSettings,
        *,
        on_reopened: Callable[[], None],
        on_failed: Callable[[str], None],
    ) -> None:
        self._source = source
        self._intake = intake
        self._check = check
        self._settings = settings
        self._on_reopened = on_reopened
        self._on_failed = on_failed
        self._wanted = asyncio.Event()

    def wake(self) -> None:
        """Start a recheck if any partition is suspect."""
        if self._intake.suspects:
            self._wanted.set()

    async def run(self) -> None:
        """Recheck until cancelled.

        Raises:
            Misconfigured: records are lost, or the log ends before an expected offset.
        """
        while True:
            await self._wanted.wait()
            await self._until_answered()
            self._wanted.clear()
            self._on_reopened()
            self.wake()

    async def _until_answered(self) -> None:
        failures = 0
        while True:
            try:
                async with asyncio.timeout(self._settings.failover_s):
                    return await self._intake.recheck(self._source, self._check)
            except (Transient, Stale, TimeoutError) as error:
                failures += 1
                self._on_failed(reason_of(error))
                log.warning("bounds_unknown", failures=failures, error=repr(error))
                pause = self._settings.backoff_s(failures)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter


@dataclass(slots=True, eq=False)
class _Expectation:
    """The next offset of a partition; replaced, never reused, when the partition is reopened.

    Attributes:
        seen: the offset that was delivered instead; the partition is suspect.
        gap_to: the offset that was delivered instead before the last recheck.
    """

    next: int
    seen: int | None = None
    gap_to: int | None = None


class OrderedIntake:
    """The expected offset of every open partition."""

    def __init__(self) -> None:
        self._open: dict[Partition, _Expectation] = {}

    def expect(self, partition: Partition, offset: int) -> None:
        """Open the partition in a new assignment; the next delivery is the one at ``offset``."""
        self._open[partition] = _Expectation(offset)

    def close(self, partitions: Collection[Partition]) -> None:
        """Accept no more deliveries from these partitions."""
        for partition in partitions:
            self._open.pop(partition, None)

    def is_open(self, partition: Partition) -> bool:
        """Whether deliveries of this partition are accepted."""
        return partition in self._open and not self.is_suspect(partition)

    def is_suspect(self, partition: Partition) -> bool:
        """Whether an unexpected offset was delivered and not rechecked yet."""
        found = self._open.get(partition)
        return found is not None and found.seen is not None

    @property
    def suspects(self) -> list[Partition]:
        """All suspect partitions."""
        return [partition for partition in self._open if self.is_suspect(partition)]

    def admit(self, delivery: Delivery) -> bool:
        """Whether this delivery is the expected one; if not, its partition becomes suspect."""
        place = self._open.get(delivery.partition)
        if place is None or place.seen is not None:
            return False
        if delivery.offset != place.next:
            place.seen = delivery.offset
            return False
        place.next, place.gap_to = delivery.offset + 1, None
        return True

    async def recheck(self, source: Source, check: LogCheck) -> None:
        """Read the bounds of the suspect partitions and request their next records again.

        A partition that was revoked or reassigned while the bounds were read is skipped, because
        its new assignment has its own expectation.

        Raises:
            LostRecords: the log begins beyond the expected offset.
            Misconfigured: the log ends before it.
            Transient: the broker does not answer; call again.
        """
        places = {partition: self._open[partition] for partition in self.suspects}
        if not places:
            return
        expected = {partition: place.next for partition, place in places.items()}
        bounds = await source.bounds(places)
        check_ends(expected, bounds)
        resumed = await check.resume(expected, bounds)
        for partition, place in places.items():
            if self._open.get(partition) is place:
                self._reopen(source, partition, place, resumed[partition])

    def _reopen(
        self, source: Source, partition: Partition, place: _Expectation, offset: int
    ) -> None:
        """Continue at ``offset``, or after a gap that was delivered twice."""
        seen = place.seen
        log.warning("out_of_order", partition=str(partition), expected=place.next, seen=seen)
        gap_to = seen if seen is not None and seen > offset else None
        if gap_to is not None and gap_to == place.gap_to:
            offset, gap_to = gap_to, None
        self._open[partition] = _Expectation(offset, gap_to=gap_to)
        source.seek(partition, offset)


def check_ends(
    expected: Mapping[Partition, int], bounds: Mapping[Partition, tuple[int, int]]
) -> None:
    """Check that no log ends before the offset that is expected next.

    Raises:
        Misconfigured: a log does.
    """
    for partition, offset in expected.items():
        first, end = bounds[partition]
        if end < offset:
            raise Misconfigured(
                f"the next offset of {partition} is {offset}, but the log holds {first} to {end}: "
                "the topic was deleted and recreated, or truncated; restore it, or start with a "
                "new group and a new store"
            )
