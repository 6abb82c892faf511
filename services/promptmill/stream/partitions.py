"""Partitions at work: their trackers, what waits in each, and which turn is next.

A lane lives for one assignment of its partition. When the partition leaves, the lane is
closed for good; a job that is still running then is an orphan until the partition returns
(a new lane adopts it) or goes to another member (it is aborted).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from promptmill.stream.in_flight import NO_DEATHS, Deaths
from promptmill.stream.isolation import Isolation, Risk
from promptmill.stream.offsets import OffsetTracker
from promptmill.stream.ports import Delivery, Partition, Position


class Phase(Enum):
    """How far a job has come; one that waits has its outcome and may not publish it yet.

    One that starts is being noted in the flight log; one that is deferred was found to be a
    suspect by that, and waits for a turn with less beside it.
    """

    STARTING = "starting"
    DEFERRED = "deferred"
    WORKING = "working"
    WAITING = "waiting"
    SETTLING = "settling"
    FINISHED = "finished"


class Job:
    """One delivery at work: in a slot from its dispatch until its outcome has settled."""

    __slots__ = (
        "_adopted", "attempts", "deaths", "delivery", "expired", "lane", "phase", "risk", "since",
        "task",
    )  # fmt: skip

    def __init__(
        self, lane: Lane, delivery: Delivery, since: float, risk: Risk = Risk.NONE
    ) -> None:
        self.lane = lane
        self.delivery = delivery
        self.since = since
        self.attempts = 0
        self.phase = Phase.STARTING
        self.risk = risk
        self.deaths = NO_DEATHS
        self.expired = False
        self.task: asyncio.Task[None] | None = None
        self._adopted: asyncio.Future[None] | None = None

    async def home(self) -> Lane:
        """The open lane of this job; waits while the partition is nobody's."""
        while self.lane.closed:
            await self._adoption()
        return self.lane

    async def admission(self) -> None:
        """Begin to settle, as soon as the partition is here and stays.

        What was published during the last commit of an assignment, or after it, would be done
        once more by the next owner.
        """
        self.phase = Phase.WAITING
        while self.lane.leaving:
            await self._adoption()
        self.phase = Phase.SETTLING

    async def _adoption(self) -> None:
        self._adopted = asyncio.get_running_loop().create_future()
        await self._adopted

    def adopt(self, lane: Lane) -> None:
        """The partition is back: go on under its new lane."""
        self.lane = lane
        lane.jobs[self.delivery.offset] = self
        if self._adopted is not None and not self._adopted.done():
            self._adopted.set_result(None)

    def abort(self) -> None:
        """Another member has this work, or it is done."""
        if self.task is not None:
            self.task.cancel()


@dataclass(slots=True, eq=False)
class Lane:
    """One partition in one assignment epoch.

    Attributes:
        preparing: nothing of it is taken yet; see :meth:`StreamLoop.prepare_with`.
        leaving: its last commit is being made; nothing more may begin to settle.
        closed: it has left.
        deaths: of records that were at work when a worker died and are not delivered yet.
    """

    partition: Partition
    epoch: int
    tracker: OffsetTracker
    backlog: deque[Delivery] = field(default_factory=deque)
    backlog_bytes: int = 0
    jobs: dict[int, Job] = field(default_factory=dict)
    paused: bool = False
    preparing: bool = False
    leaving: bool = False
    closed: bool = False
    queued: bool = False
    deaths: dict[int, Deaths] = field(default_factory=dict)


class Lanes:
    """All lanes of one member, and the orphans of those that were closed.

    Args:
        isolation: the suspects among what waits; by default there are none.

    Attributes:
        waiting: records delivered and not yet at work, suspects included.
        left: where the group stood when a partition left this process.
    """

    def __init__(self, isolation: Isolation[tuple[Lane, Delivery]] | None = None) -> None:
        self._isolation = isolation or Isolation(slots=1, engine_deaths=1)
        self._lanes: dict[Partition, Lane] = {}
        self._turns: deque[Lane] = deque()
        self._orphans: dict[tuple[Partition, int], Job] = {}
        self._epoch = 0
        self.waiting = 0
        self.left: dict[Partition, int] = {}

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def get(self, partition: Partition) -> Lane | None:
        """The open lane of this partition."""
        return self._lanes.get(partition)

    def open(
        self, partition: Partition, start: Position, deaths: Mapping[int, Deaths] | None = None
    ) -> Lane:
        """A lane in a new epoch, in place of any other; ignores deliveries before ``start``.

        Args:
            deaths: of its records, by offset, as far as they are known.
        """
        self.close([partition])
        self._epoch += 1
        lane = Lane(partition, self._epoch, OffsetTracker(str(partition), start))
        lane.deaths.update(deaths or {})
        self._lanes[partition] = lane
        return lane

    def close(self, partitions: Collection[Partition]) -> list[Lane]:
        """Fence these: what waits is forgotten, what runs is orphaned."""
        closed = [lane for p in partitions if (lane := self._lanes.pop(p, None))]
        for lane in closed:
            lane.leaving = lane.closed = True
            self.left[lane.partition] = lane.tracker.acknowledged
            self.forget_backlog(lane)
            for offset, job in lane.jobs.items():
                self._orphans[lane.partition, offset] = job
        return closed

    def forget_backlog(self, lane: Lane) -> None:
        """What waits will be delivered again, here or elsewhere."""
        self.waiting -= len(lane.backlog)
        self.waiting -= self._isolation.forget(lambda suspect: suspect[0] is lane)
        lane.backlog.clear()
        lane.backlog_bytes = 0

    def abort_abandoned(self) -> int:
        """Abort the orphans whose partition did not return, or returned without their work.

        Returns:
            how many were aborted.
        """
        gone = [key for key in self._orphans if self._is_elsewhere(*key)]
        for key in gone:
            self._orphans.pop(key).abort()
        return len(gone)

    def _is_elsewhere(self, partition: Partition, offset: int) -> bool:
        lane = self._lanes.get(partition)
        return lane is None or offset < lane.tracker.next

    def awaits_orphans(self, partition: Partition) -> bool:
        """Whether work of an earlier lane still runs, not adopted yet."""
        return any(key[0] == partition for key in self._orphans)

    def deliver(self, lane: Lane, delivery: Delivery) -> Job | None:
        """Queue a delivery, unless it is done, known, or still at work as an orphan.

        Returns:
            the job that still works on it and goes on under this lane.
        """
        orphan = self._orphans.pop((lane.partition, delivery.offset), None)
        if not lane.tracker.deliver(delivery.offset):
            if orphan is not None:
                orphan.abort()
            return None
        if orphan is not None:
            orphan.adopt(lane)
            return orphan
        risk = self._isolation.risk_of(lane.deaths.pop(delivery.offset, NO_DEATHS))
        if risk is Risk.NONE:
            self._queue(lane, delivery)
        else:
            self.suspect(lane, delivery, risk)
        return None

    def suspect(self, lane: Lane, delivery: Delivery, risk: Risk) -> None:
        """Queue a delivery for a turn with less beside it."""
        self._isolation.add(risk, (lane, delivery))
        self.waiting += 1

    def _queue(self, lane: Lane, delivery: Delivery) -> None:
        lane.backlog.append(delivery)
        lane.backlog_bytes += delivery.size
        self.waiting += 1
        if not lane.queued:
            lane.queued = True
            self._turns.append(lane)

    def take(self) -> tuple[Lane, Delivery, Risk] | None:
        """The next delivery that may begin: suspects first, then one from each lane in turn."""
        if suspect := self._isolation.take():
            self.waiting -= 1
            return *suspect[1], suspect[0]
        while self._turns and self._isolation.admits_others:
            lane = self._turns.popleft()
            if not lane.backlog:
                lane.queued = False
                continue
            self._turns.append(lane)
            delivery = lane.backlog.popleft()
            lane.backlog_bytes -= delivery.size
            self.waiting -= 1
            return lane, delivery, Risk.NONE
        return None

    def jobs(self) -> list[Job]:
        """Everything at work, orphans included."""
        return [job for lane in self for job in lane.jobs.values()] + list(self._orphans.values())

    def release(self, job: Job) -> None:
        """The job has ended, in whatever way."""
        job.lane.jobs.pop(job.delivery.offset, None)
        key = (job.delivery.partition, job.delivery.offset)
        if self._orphans.get(key) is job:
            del self._orphans[key]
