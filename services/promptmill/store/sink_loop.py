"""The loop of a sink, which stores four topics in four tables and continues from their positions.

Polling never stops. Messages queue in a :class:`Buffer` while one task takes over shards, creates
plans and carries them out. If the storage fails, the same plan is tried again for as long as it
takes; meanwhile the buffer fills up and the partitions are paused.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Protocol

import structlog

from promptmill.lake.ports import Fenced, Sink, TableName
from promptmill.runtime.errors import Transient, reason_of
from promptmill.runtime.timing import Deadline, until_stopped
from promptmill.store.buffer import Buffer
from promptmill.store.compaction import Compaction
from promptmill.store.flushing import Flusher, SinkPublisher
from promptmill.store.limits import Backoff, SinkLimits
from promptmill.store.pauses import BufferPauses
from promptmill.store.shards import Shards
from promptmill.store.takeover import Takeover
from promptmill.stream.lost_records import LogCheck, LostRecords, ReadAccepted, nothing_accepted
from promptmill.stream.ports import Delivery, Partition, Source

__all__ = ["SinkLoop", "SinkProbe", "SinkPublisher"]

log = structlog.get_logger(__name__)

STAGE = "store"


class SinkProbe(Protocol):
    """Receives the figures of a sink's work; ``StageMetrics`` has these methods."""

    def count_done(self, records: int) -> None:
        """Count settled messages."""

    def retried(self, reason: str) -> None:
        """Count a failure of the storage or the broker that will be retried."""


class SinkLoop:
    """One member of the store's consumer group.

    Args:
        source: consumes every topic of ``tables``; one member must have the partitions of one
            number of all topics, whatever their numbers are (``CoPartitionedAssignor``).
        sink: this member's writer.
        tables: the tables by full topic name.
        publisher: publishes dead letters and misplaced messages.
        accepted: reads the gaps of this stage that were accepted as lost.
    """

    def __init__(
        self,
        source: Source,
        sink: Sink,
        tables: Mapping[str, TableName],
        publisher: SinkPublisher,
        *,
        probe: SinkProbe,
        limits: SinkLimits | None = None,
        accepted: ReadAccepted = nothing_accepted,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._sink = sink
        self._limits = limits or SinkLimits()
        self._probe = probe
        self._clock = clock
        self._shards = Shards(tables, publisher.layout)
        self._buffer = Buffer(self._limits, clock)
        self._flusher = Flusher(source, sink, self._shards, publisher)
        self._check = LogCheck(STAGE, accepted)
        self._takeover = Takeover(source, sink, self._shards, self._buffer, self._check)
        self._pauses = BufferPauses(source, self._shards, self._buffer)
        self._backoff = Backoff(self._limits, clock)
        self._compaction = Compaction(sink, self._limits, self.on_lost, clock)
        self._leaving = 0
        self._deadline: Deadline | None = None
        self._stopping = asyncio.Event()
        self._failure: BaseException | None = None
        self._lost_records: LostRecords | None = None
        self._wake = asyncio.Event()
        self._progress = asyncio.Event()
        self._is_open = False
        self.joined = asyncio.Event()
        self.counts: Counter[tuple[TableName, str]] = Counter()

    # What others see

    @property
    def in_flight(self) -> int:
        """The number of messages in the present flush."""
        return self._flusher.size

    @property
    def waiting(self) -> int:
        """The number of messages that wait for a flush."""
        return self._buffer.rows

    @property
    def assigned(self) -> Sequence[Partition]:
        """The partitions of this member."""
        return sorted(self._shards.assigned)

    def stop(self, deadline: Deadline | None = None) -> None:
        """Begin to drain; :meth:`run` returns when all messages are stored, or at the deadline."""
        if self._deadline is None:
            self._deadline = deadline or Deadline(self._limits.grace_s, self._clock)
            self._pauses.hold()
        self._stopping.set()
        self._wake.set()

    # Lifetime

    async def run(self) -> None:
        """Store until :meth:`stop`.

        Raises:
            Fatal: the process cannot continue; messages that are not stored stay on the topics.
        """
        async with AsyncExitStack() as stack:
            serving = asyncio.create_task(self._serve(stack))
            await until_stopped(serving, self._stopping)
            if self._deadline is None:
                await serving
            else:
                await self._deadline.run("drain", serving)
        if self._failure is not None:
            raise self._failure
        log.info("drained", left=self.waiting + self.in_flight)

    async def _serve(self, stack: AsyncExitStack) -> None:
        await self._repeat(self._open, lambda: self._is_open or self._is_over())
        if not self._is_over():
            stack.push_async_callback(self._close, "source", self._source.stop)
            stack.push_async_callback(self._close, "compaction", self._compaction.end)
            await self._source.start(self)
            await self._repeat(self._turn, self._is_over)

    async def _close(self, step: str, action: Callable[[], Awaitable[object]]) -> None:
        deadline = self._deadline or Deadline(self._limits.grace_s, self._clock)
        await deadline.close(step, action, self.on_lost)

    async def _repeat(
        self, act: Callable[[], Awaitable[None]], is_done: Callable[[], bool]
    ) -> None:
        while not is_done():
            await self._attempt(act)
            if not is_done():
                await self._sleep()

    async def _open(self) -> None:
        await asyncio.to_thread(self._sink.open)
        self._is_open = True

    def _is_over(self) -> bool:
        if self._failure is not None:
            return True
        if self._deadline is None:
            return False
        return self._is_idle or self._deadline.drain_left_s == 0

    @property
    def _is_idle(self) -> bool:
        return self._flusher.size == 0 and self._buffer.rows == 0

    async def _attempt(self, act: Callable[[], Awaitable[None]]) -> None:
        """Attempt it; after a failure of the storage or the broker, the next attempt waits."""
        try:
            await act()
        except Fenced as error:
            self._on_fenced(error)
        except Transient as error:
            pause = self._backoff.failed()
            self._probe.retried(reason_of(error))
            log.warning("storage_failed", error=str(error), again_in_s=round(pause, 1))

    async def _sleep(self) -> None:
        """Sleep until something may be due, or until the source has news."""
        self._wake.clear()
        due = self._due_in_s()
        if self._deadline is not None:
            due = min(due, self._deadline.drain_left_s)
        with suppress(TimeoutError):
            async with asyncio.timeout(None if due == math.inf else max(0.0, due)):
                await self._wake.wait()

    def _due_in_s(self) -> float:
        pause = self._backoff.left_s
        if not self._is_open or self._flusher.size or self._shards.ready or self._lost_records:
            return pause
        if self._buffer.order.suspects:
            return pause
        if self._buffer.rows and (self._leaving or self._deadline is not None):
            return pause
        return max(pause, self._buffer.due_in_s())

    # The one task

    async def _turn(self) -> None:
        if self._due_in_s() > 0:
            return
        if self._lost_records is None:
            await self._prepare()
        await self._flush()
        self._backoff.succeeded()
        if self._lost_records is not None and self._is_idle:
            raise self._lost_records

    async def _prepare(self) -> None:
        """Take over shards and check suspect partitions, before anything of theirs is stored."""
        # Opened where the tables stand, so that nothing of an earlier flush may follow.
        self._flusher.lose(self._shards.ready)
        self._flusher.shed()
        try:
            if await self._takeover.run():
                self.joined.set()
            await self._buffer.order.recheck(self._source, self._check)
        except LostRecords as error:
            # Retention may have removed what is buffered too, so it is stored before the end.
            self._lost_records = error
            self._buffer.shut(self._shards.assigned)
        self._pauses.apply()

    async def _flush(self) -> None:
        """Finish the present flush, and begin another if it is due."""
        if not self._flusher.size:
            if self._buffer.rows == 0 or self._due_in_s() > 0:
                return
            await self._source.check_topics()
            await self._flusher.take(self._buffer.take_out())
            self._pauses.apply()
        size, began = self._flusher.size, self._clock()
        counts = await self._flusher.carry_out()
        self._buffer.adapt(self._clock() - began)
        self.counts += counts
        self._probe.count_done(size)
        self._progress.set()
        is_elected = any(partition.number == 0 for partition in self._shards.assigned)
        self._compaction.count_flush(is_elected=is_elected)

    def _on_fenced(self, error: Fenced) -> None:
        """Drop shards that another sink has claimed; those still assigned are claimed again."""
        log.warning("fenced", table=error.table, shards=sorted(error.shards))
        self._backoff.failed()
        self._flusher.lose(error.shards)
        self._flusher.shed()
        self._shards.await_takeover(error.shards)
        self._buffer.close(self._shards.partitions(error.shards))
        self._pauses.apply()

    # What the source says

    async def on_assigned(self, partitions: Collection[Partition]) -> None:
        """Hold these partitions until their shards are taken over; nothing is read here."""
        self._shards.assign(partitions)
        self._buffer.close(self._shards.partitions({p.number for p in partitions}))
        self._pauses.forget()
        self._pauses.apply()
        if not self._shards.assigned:
            self.joined.set()
        if parts := self._shards.incomplete:
            log.warning("shards_incomplete", shards=sorted(parts))
        self._wake.set()

    async def on_revoked(self, partitions: Collection[Partition]) -> None:
        """Store what has arrived within the budget, then leave the rest to the new owner."""
        shards = {partition.number for partition in partitions}
        self._buffer.shut(partitions)
        self._leaving += 1
        self._wake.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.revoke_budget_s):
                while not self._is_over() and self._is_busy_with(partitions, shards):
                    self._progress.clear()
                    await self._progress.wait()
        self._leaving -= 1
        self._shards.release(partitions)
        self._buffer.close([*partitions, *self._shards.partitions(shards)])
        self._flusher.lose(shards)
        self._pauses.apply()

    def _is_busy_with(self, partitions: Collection[Partition], shards: set[int]) -> bool:
        return self._buffer.holds(partitions) or self._flusher.touches(shards)

    async def on_records(self, batch: Sequence[Delivery]) -> None:
        """Queue the expected deliveries, and pause when the buffer is full."""
        if self._deadline is not None:
            return
        self._buffer.take_in(batch)
        self._pauses.apply()
        self._wake.set()

    def on_lost(self, error: BaseException) -> None:
        """End the process, because the source has failed permanently."""
        self._failure = self._failure or error
        self._wake.set()
