"""The assigned partitions: their offsets, their backlogs, and the records in flight.

A partition state lasts for one assignment. When the partition is revoked, its state is closed. A
work item that is still in flight is then detached: it is reattached to the new state if the
partition returns, and aborted if the partition goes to another member.
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
    """The progress of a work item.

    Attributes:
        STARTING: it is being noted in the flight log.
        DEFERRED: the flight log shows that it is a suspect; it is queued again.
        WORKING: the work is running.
        WAITING: it has an outcome, which may not be published yet.
        SETTLING: its outcome is being published.
        FINISHED: its outcome is acknowledged.
    """

    STARTING = "starting"
    DEFERRED = "deferred"
    WORKING = "working"
    WAITING = "waiting"
    SETTLING = "settling"
    FINISHED = "finished"


class WorkItem:
    """One delivery in flight; it holds a slot until its outcome is acknowledged."""

    __slots__ = (
        "_reattached",
        "attempts",
        "deaths",
        "delivery",
        "expired",
        "phase",
        "risk",
        "since",
        "state",
        "task",
    )

    def __init__(
        self, state: PartitionState, delivery: Delivery, since: float, risk: Risk = Risk.NONE
    ) -> None:
        self.state = state
        self.delivery = delivery
        self.since = since
        self.attempts = 0
        self.phase = Phase.STARTING
        self.risk = risk
        self.deaths = NO_DEATHS
        self.expired = False
        self.task: asyncio.Task[None] | None = None
        self._reattached: asyncio.Future[None] | None = None

    async def wait_until_owned(self) -> PartitionState:
        """Wait until the partition is assigned to this member, and return its open state."""
        while self.state.closed:
            await self._wait_for_reattachment()
        return self.state

    async def wait_until_publishable(self) -> None:
        """Wait until the outcome may be published.

        An outcome that was published during or after the last commit of an assignment would be
        published again by the next owner of the partition.
        """
        self.phase = Phase.WAITING
        while self.state.leaving:
            await self._wait_for_reattachment()
        self.phase = Phase.SETTLING

    async def _wait_for_reattachment(self) -> None:
        self._reattached = asyncio.get_running_loop().create_future()
        await self._reattached

    def reattach(self, state: PartitionState) -> None:
        """Continue under the new state of a partition that has returned."""
        self.state = state
        state.in_flight[self.delivery.offset] = self
        if self._reattached is not None and not self._reattached.done():
            self._reattached.set_result(None)

    def abort(self) -> None:
        """Cancel the item."""
        if self.task is not None:
            self.task.cancel()


@dataclass(slots=True)
class Backlog:
    """The size of the backlogs of all partitions; suspects do not count.

    Attributes:
        records: delivered, and not yet in flight.
        bytes: of these records.
    """

    records: int = 0
    bytes: int = 0

    def add(self, delivery: Delivery) -> None:
        """Count this record."""
        self.records += 1
        self.bytes += delivery.size

    def remove(self, delivery: Delivery) -> None:
        """Count this record no longer."""
        self.records -= 1
        self.bytes -= delivery.size


@dataclass(slots=True, eq=False)
class PartitionState:
    """One partition in one assignment epoch.

    Attributes:
        preparing: no deliveries are accepted yet; see :meth:`StreamLoop.prepare_with`.
        leaving: the last commit is being made, so no more outcomes may be published.
        closed: the partition was revoked.
        queued: the partition waits for its turn.
        deaths: by offset, for records that were in flight when a worker died.
    """

    partition: Partition
    epoch: int
    tracker: OffsetTracker
    backlog: deque[Delivery] = field(default_factory=deque)
    in_flight: dict[int, WorkItem] = field(default_factory=dict)
    paused: bool = False
    preparing: bool = False
    leaving: bool = False
    closed: bool = False
    queued: bool = False
    deaths: dict[int, Deaths] = field(default_factory=dict)


class Partitions:
    """The states of all partitions of one member, and its detached work items.

    Args:
        isolation: queues the suspects; by default no record is one.

    Attributes:
        backlog: the size of all backlogs together.
        left: the committed offset of each partition at its last revocation.
    """

    def __init__(self, isolation: Isolation[tuple[PartitionState, Delivery]] | None = None) -> None:
        self._isolation = isolation or Isolation(slots=1, engine_deaths=1)
        self._states: dict[Partition, PartitionState] = {}
        self._turns: deque[PartitionState] = deque()
        self._detached: dict[tuple[Partition, int], WorkItem] = {}
        self._epoch = 0
        self.backlog = Backlog()
        self.left: dict[Partition, int] = {}

    def __iter__(self) -> Iterator[PartitionState]:
        return iter(self._states.values())

    @property
    def waiting(self) -> int:
        """The number of delivered records that are not in flight, suspects included."""
        return self.backlog.records + self._isolation.waiting

    def get(self, partition: Partition) -> PartitionState | None:
        """The open state of this partition."""
        return self._states.get(partition)

    def open(
        self, partition: Partition, start: Position, deaths: Mapping[int, Deaths] | None = None
    ) -> PartitionState:
        """Open the partition in a new epoch; deliveries before ``start`` are ignored.

        Args:
            deaths: the known deaths of its records, by offset.
        """
        self.close([partition])
        self._epoch += 1
        state = PartitionState(partition, self._epoch, OffsetTracker(str(partition), start))
        state.deaths.update(deaths or {})
        self._states[partition] = state
        return state

    def close(self, partitions: Collection[Partition]) -> list[PartitionState]:
        """Close these partitions: drop their backlogs and detach their records in flight."""
        closed = [state for p in partitions if (state := self._states.pop(p, None))]
        for state in closed:
            state.leaving = state.closed = True
            self.left[state.partition] = state.tracker.acknowledged
            self.forget_backlog(state)
            for offset, item in state.in_flight.items():
                self._detached[state.partition, offset] = item
        return closed

    def forget_backlog(self, state: PartitionState) -> None:
        """Drop the backlog, which will be delivered again to this or another member."""
        self._isolation.forget(lambda suspect: suspect[0] is state)
        for delivery in state.backlog:
            self.backlog.remove(delivery)
        state.backlog.clear()

    def abort_abandoned(self, unopened: Collection[Partition] = ()) -> int:
        """Abort the detached items whose partition or record did not return.

        Args:
            unopened: partitions that have returned and will be opened later.

        Returns:
            The number of aborted items.
        """
        gone = [
            key for key in self._detached if key[0] not in unopened and self._is_elsewhere(*key)
        ]
        for key in gone:
            self._detached.pop(key).abort()
        return len(gone)

    def _is_elsewhere(self, partition: Partition, offset: int) -> bool:
        state = self._states.get(partition)
        return state is None or offset < state.tracker.next

    def has_detached(self, partition: Partition) -> bool:
        """Whether detached items of this partition are still running."""
        return any(key[0] == partition for key in self._detached)

    def deliver(self, state: PartitionState, delivery: Delivery) -> WorkItem | None:
        """Queue a delivery, unless it is finished, a repetition, or still in flight.

        Returns:
            The detached item of this record, if there was one; it is now reattached.
        """
        detached = self._detached.pop((state.partition, delivery.offset), None)
        if not state.tracker.deliver(delivery.offset):
            if detached is not None:
                detached.abort()
            return None
        if detached is not None:
            detached.reattach(state)
            return detached
        risk = self._isolation.risk_of(state.deaths.pop(delivery.offset, NO_DEATHS))
        if risk is Risk.NONE:
            self._queue(state, delivery)
        else:
            self.suspect(state, delivery, risk)
        return None

    def suspect(self, state: PartitionState, delivery: Delivery, risk: Risk) -> None:
        """Queue a delivery as a suspect."""
        self._isolation.add(risk, (state, delivery))

    def _queue(self, state: PartitionState, delivery: Delivery) -> None:
        state.backlog.append(delivery)
        self.backlog.add(delivery)
        if not state.queued:
            state.queued = True
            self._turns.append(state)

    def take(self) -> tuple[PartitionState, Delivery, Risk] | None:
        """Take the next delivery: suspects first, then one from each partition in turn."""
        if suspect := self._isolation.take():
            return *suspect[1], suspect[0]
        while self._turns and self._isolation.admits_others:
            state = self._turns.popleft()
            if not state.backlog:
                state.queued = False
                continue
            self._turns.append(state)
            delivery = state.backlog.popleft()
            self.backlog.remove(delivery)
            return state, delivery, Risk.NONE
        return None

    def work_items(self) -> list[WorkItem]:
        """All items in flight, including detached ones."""
        attached = [item for state in self for item in state.in_flight.values()]
        return [*attached, *self._detached.values()]

    def release(self, item: WorkItem) -> None:
        """Remove an item that has ended."""
        item.state.in_flight.pop(item.delivery.offset, None)
        key = (item.delivery.partition, item.delivery.offset)
        if self._detached.get(key) is item:
            del self._detached[key]
