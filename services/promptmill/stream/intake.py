"""Which delivery of a partition may come next. Both loops take their deliveries through this.

A client can hand over offset 12 where 7 was next for three reasons: 7 to 11 never existed
(transaction markers, compaction), they were deleted before they were read, or the client has
dropped them on the way (aiokafka drops what it has drained from healthy partitions when another
partition's batch fails its checksum; a handler's error can swallow a batch). Only the log can
tell. So a delivery that is not the expected one makes its partition *suspect*: nothing more of
it is taken until :meth:`OrderedIntake.recheck` has read the log's bounds and sought back to the
expected offset. If the same offset comes again, and the log still begins no later than what is
expected, then the offsets in between hold nothing: the log held them while it was read again.
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
    """Rechecks whatever is suspect, with back-off while the broker does not answer.

    Args:
        on_reopened: called when partitions are no longer suspect.
        on_failed: told the reason of each try that failed.
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
        """Something may be suspect."""
        if self._intake.suspects:
            self._wanted.set()

    async def run(self) -> None:
        """Recheck until cancelled.

        Raises:
            Misconfigured: records are lost, or the log ends before what is expected.
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
    """What comes next; it is replaced, never reused, when its partition is opened again.

    Attributes:
        seen: the offset that came instead; the partition is suspect.
        gap_to: the offset that came instead the last time, before the log was looked at.
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
        """Take nothing more from these."""
        for partition in partitions:
            self._open.pop(partition, None)

    def is_open(self, partition: Partition) -> bool:
        """Whether deliveries of this partition are taken."""
        return partition in self._open and not self.is_suspect(partition)

    def is_suspect(self, partition: Partition) -> bool:
        """Whether something unexpected was delivered that nobody has looked into yet."""
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
        """Read the bounds of the suspect partitions' logs, and have them delivered once more.

        A partition that has left, or was assigned again, while the bounds were read is no longer
        this call's business: its new assignment has its own expectation.

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
        """Go on at ``offset``, or beyond a gap that has come twice."""
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
    """Check that no log ends before what is expected of it.

    Raises:
        Misconfigured: one does.
    """
    for partition, offset in expected.items():
        first, end = bounds[partition]
        if end < offset:
            raise Misconfigured(
                f"the next offset of {partition} is {offset}, but the log holds {first} to {end}: "
                "the topic was deleted and recreated, or truncated; restore it, or start with a "
                "new group and a new store"
            )
