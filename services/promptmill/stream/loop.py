"""The loop of a worker: it consumes records, applies the work, and commits offsets in order.

One :class:`StreamLoop` is one member of a consumer group. Polling never stops: each partition has
a backlog of deliveries and is paused while the backlog is full. A record takes a slot before its
work and releases it when every message that it publishes is acknowledged. Only then is its offset
finished, and only the durable prefix of a partition is committed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress

import structlog

from promptmill.runtime.errors import EngineDead, Fatal, reason_of
from promptmill.runtime.fault_points import fault_point
from promptmill.runtime.timing import Deadline, until_stopped
from promptmill.stream.attempts import Attempts, Probe, Work
from promptmill.stream.commits import Committer
from promptmill.stream.in_flight import FlightLog, NoFlightLog
from promptmill.stream.intake import OrderedIntake, Rechecker
from promptmill.stream.isolation import Isolation
from promptmill.stream.lost_records import LogCheck, ReadAccepted
from promptmill.stream.partitions import Partitions, PartitionState, Phase, WorkItem
from promptmill.stream.pauses import Hold, Pauses
from promptmill.stream.ports import Delivery, Partition, Sender, Source
from promptmill.stream.settings import LoopSettings
from promptmill.stream.start_offsets import Prepare, Start, read_starts
from promptmill.stream.traffic import Traffic
from promptmill_schemas import Topic

log = structlog.get_logger(__name__)


class StreamLoop:
    """Consume → work → produce, at least once, with out-of-order completion."""

    def __init__(
        self,
        source: Source,
        sender: Sender,
        work: Work,
        *,
        stage: str,
        topic: Topic,
        settings: LoopSettings,
        probe: Probe,
        prefix: str = "",
    ) -> None:
        self._source = source
        self._sender = sender
        self._settings = settings
        self._flight_log: FlightLog = NoFlightLog()
        self._isolation: Isolation[tuple[PartitionState, Delivery]] = Isolation(
            settings.slots, settings.engine_deaths
        )
        self._partitions = Partitions(self._isolation)
        self._intake = OrderedIntake()
        self._check = LogCheck(stage)
        self._pauses = Pauses(source, self._partitions, self._intake, settings)
        self._committer = Committer(source, self._partitions, settings)
        self.traffic = Traffic()
        self._read = self.traffic.read[topic.name]
        self._attempts = Attempts(
            sender,
            work,
            stage=stage,
            topic=topic,
            settings=settings,
            probe=probe,
            prefix=prefix,
            traffic=self.traffic,
        )
        self._free = settings.slots
        self.joined = asyncio.Event()
        self._stop = asyncio.Event()
        self._settled = asyncio.Event()
        self._failure: BaseException | None = None
        self._rechecker = Rechecker(
            source,
            self._intake,
            self._check,
            settings,
            on_reopened=self._pauses.apply,
            on_failed=probe.retried,
        )
        self._deadline: Deadline | None = None
        self._helpers: list[asyncio.Task[None]] = []
        self._prepare: Prepare | None = None
        self._openings: set[asyncio.Task[None]] = set()
        self._unopened: dict[Partition, object] = {}

    def accept_gaps(self, read: ReadAccepted) -> None:
        """Set the reader of accepted gaps. Call this before :meth:`run`."""
        self._check.accepted = read

    def remember_deaths(self, flight_log: FlightLog) -> None:
        """Note the in-flight records in this log. Call this before :meth:`run`."""
        self._flight_log = flight_log

    def prepare_with(self, prepare: Prepare) -> None:
        """Await ``prepare`` at each assignment while polling continues. Call before :meth:`run`.

        Partitions without a committed offset are not dispatched until it has returned.
        """
        self._prepare = prepare

    # Status

    @property
    def in_flight(self) -> int:
        """The number of records that hold a slot."""
        return self._settings.slots - self._free

    @property
    def waiting(self) -> int:
        """The number of records in the backlog, suspects included."""
        return self._partitions.waiting

    @property
    def suspects(self) -> int:
        """The number of suspects that wait to run in isolation."""
        return self._isolation.waiting

    @property
    def assigned(self) -> list[Partition]:
        """The partitions of this member."""
        return [state.partition for state in self._partitions]

    @property
    def committed(self) -> dict[Partition, int]:
        """The committed offset of each partition of this member."""
        return {state.partition: state.tracker.acknowledged for state in self._partitions}

    def stop(self, deadline: Deadline | None = None) -> None:
        """Begin to drain; :meth:`run` returns after the drain, at the deadline at the latest."""
        self._deadline = self._deadline or deadline or Deadline(self._settings.grace_s)
        self._stop.set()

    def fail(self, error: BaseException) -> None:
        """End :meth:`run` with this error, without another commit. The first error wins."""
        self._failure = self._failure or error
        self._settled.set()
        self.stop()

    @property
    def done(self) -> dict[Partition, int]:
        """The number of finished offsets of each partition, including those beyond the prefix."""
        return {state.partition: state.tracker.done for state in self._partitions}

    def hold(self) -> None:
        """Start no new records (backpressure). Records in flight and polling continue."""
        self._pauses.hold(Hold.PRESSURE)

    def release(self) -> None:
        """Start new records again, unless the loop is draining."""
        self._pauses.release(Hold.PRESSURE)
        self._pump()

    # Lifetime

    async def run(self) -> None:
        """Process records until :meth:`stop`, then drain within the grace period.

        Raises:
            Fatal: the process cannot continue; no record that was in flight is committed.
        """
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._close, "flight log", self._flight_log.stop)
            await self._sender.start()
            stack.push_async_callback(self._close, "sender", self._sender.stop)
            stack.push_async_callback(self._close, "source", self._source.stop)
            stack.push_async_callback(self._close, "tasks", self._cancel_tasks)
            await self._join()
            work = (self._committer.run(), self._sweep(), self._rechecker.run())
            self._helpers = [self._guard(helper) for helper in work]
            await self._stop.wait()
            if self._failure is None:
                await self._drain()
        if self._failure is not None:
            raise self._failure

    async def _join(self) -> None:
        """Join the group, unless the source reports a failure first."""
        joining = asyncio.create_task(self._source.start(self))
        await until_stopped(joining, self._stop)
        if self._failure is not None:
            await self.deadline.run("join", _cancel([joining]))
        else:
            await (self.deadline.run("join", joining) if self._stop.is_set() else joining)

    @property
    def deadline(self) -> Deadline:
        """The deadline of the shutdown, which begins at :meth:`stop` or at the first use."""
        self._deadline = self._deadline or Deadline(self._settings.grace_s)
        return self._deadline

    async def _close(self, step: str, action: Callable[[], Awaitable[object]]) -> None:
        await self.deadline.close(step, action, self.on_lost)

    async def _cancel_tasks(self) -> None:
        await _cancel([*self._helpers, *self._openings])
        await _cancel(item.task for item in self._partitions.work_items() if item.task)

    async def _drain(self) -> None:
        """Dispatch nothing more, pause all partitions, finish the records in flight, and commit."""
        log.info("draining", in_flight=self.in_flight, grace_s=self._settings.grace_s)
        self._pauses.hold(Hold.DRAIN)
        for state in self._partitions:
            self._partitions.forget_backlog(state)
        await self._wait_until(
            lambda: self.in_flight == 0 or self._failure is not None, self.deadline.drain_left_s
        )
        left = self.in_flight
        await self._abort_working()
        await self.deadline.run("commit", self._committer.commit(list(self._partitions)))
        log.info("drained", left=left)

    async def _abort_working(self) -> None:
        """Abort the records in flight before the last commit.

        An outcome that was published during or after that commit would be published twice.
        """
        for item in self._partitions.work_items():
            if item.phase in (Phase.STARTING, Phase.WORKING, Phase.WAITING):
                item.abort()
        limit_s = min(self._settings.revoke_budget_s, self.deadline.step_s)
        await self._wait_until(lambda: not _settling(self._partitions), limit_s)

    def _guard(self, helper: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Start a helper task; the loop fails if it ends first."""
        task = asyncio.create_task(helper)
        task.add_done_callback(self._on_helper_done)
        return task

    def _on_helper_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self.on_lost(task.exception() or RuntimeError("a background task ended unexpectedly"))

    # Calls from the source

    async def on_assigned(self, partitions: Collection[Partition]) -> None:
        """Open each partition at its committed position; reattach or abort detached records.

        Partitions whose leader does not answer are opened once it does, in the background.
        """
        fault_point("assign.begin")
        self._intake.close(partitions)
        assignment = object()
        self._unopened.update(dict.fromkeys(partitions, assignment))
        await self._open_answering(partitions, assignment)
        if waiting := self._waiting_of(partitions, assignment):
            self._in_background(self._open_late(waiting, assignment))

    async def _open_late(self, partitions: Collection[Partition], assignment: object) -> None:
        attempt = 0
        while waiting := self._waiting_of(partitions, assignment):
            attempt += 1
            await asyncio.sleep(min(1.0, self._settings.backoff_s(attempt)))
            await self._open_answering(waiting, assignment)

    def _waiting_of(self, partitions: Iterable[Partition], assignment: object) -> list[Partition]:
        """Those that this assignment has given to the member, and that are not open yet."""
        return [p for p in partitions if self._unopened.get(p) is assignment]

    async def _open_answering(self, partitions: Collection[Partition], assignment: object) -> None:
        """Open the partitions whose position and bounds can be read now."""
        try:
            starts = await read_starts(
                self._source, partitions, self._partitions.left, self._settings, self._check
            )
        except Fatal as error:
            self.fail(error)
            return
        committed = {partition: start.committed.offset for partition, start in starts.items()}
        deaths = await self._flight_log.read(committed)
        starts = {p: starts[p] for p in self._waiting_of(starts, assignment)}
        for partition in starts:
            del self._unopened[partition]
        states = {
            p: self._partitions.open(p, s.committed, deaths.get(p)) for p, s in starts.items()
        }
        for partition, start in starts.items():
            states[partition].tracker.pass_over(start.offset)
            states[partition].preparing = start.is_first and self._prepare is not None
        self._open({p: s for p, s in starts.items() if not states[p].preparing}, states)
        aborted = self._partitions.abort_abandoned(self._unopened)
        self._pauses.begin(starts)
        if starts or not partitions:
            self.joined.set()
        log.info("assigned", partitions=len(starts), aborted=aborted)
        if self._prepare is not None:
            self._in_background(self._open_prepared(self._prepare, starts, states))

    def _in_background(self, opening: Coroutine[None, None, None]) -> None:
        """Continue with an assignment while polling goes on; an error ends the process."""

        async def guarded() -> None:
            try:
                await opening
            except Exception as error:  # noqa: BLE001 - it ends the process, with its cause
                self.on_lost(error)

        self._openings.add(task := asyncio.create_task(guarded()))
        task.add_done_callback(self._openings.discard)

    async def _open_prepared(
        self,
        prepare: Prepare,
        starts: Mapping[Partition, Start],
        states: Mapping[Partition, PartitionState],
    ) -> None:
        await prepare(starts)
        self._open({p: s for p, s in starts.items() if states[p].preparing}, states)
        self._pauses.apply()

    def _open(
        self, starts: Mapping[Partition, Start], states: Mapping[Partition, PartitionState]
    ) -> None:
        """Accept deliveries of these partitions, except those revoked in the meantime."""
        for partition, start in starts.items():
            states[partition].preparing = False
            if (
                self._partitions.get(partition) is states[partition]
                and not states[partition].leaving
            ):
                self._source.seek(partition, start.offset)
                self._intake.expect(partition, start.offset)

    async def on_revoked(self, partitions: Collection[Partition]) -> None:
        """Stop dispatching, wait for outcomes that are being published, commit, then close."""
        fault_point("revoke.begin")
        self._intake.close(partitions)
        for partition in partitions:
            self._unopened.pop(partition, None)
        states = [state for p in partitions if (state := self._partitions.get(p))]
        for state in states:
            state.leaving = True
            self._partitions.forget_backlog(state)
        await self._wait_until(lambda: not _settling(states), self._settings.revoke_budget_s)
        await self._committer.commit(states, self._settings.revoke_budget_s)
        fault_point("revoke.committed")
        for state in states:
            for item in state.in_flight.values():
                self._note_end(item)
        await self._flight_log.flush()
        self._partitions.close(partitions)
        log.info("revoked", partitions=len(states), running=self.in_flight)

    def on_lost(self, error: BaseException) -> None:
        """End the process, because the source has failed and delivers nothing more."""
        self.fail(error if isinstance(error, Fatal) else _surprise(error))

    async def on_records(self, batch: Sequence[Delivery]) -> None:
        """Queue the expected deliveries; the others are delivered again after a seek."""
        for delivery in batch:
            state = self._partitions.get(delivery.partition)
            if state is not None and self._intake.admit(delivery):
                self._read.records += 1
                self._read.bytes += delivery.size
                reattached = self._partitions.deliver(state, delivery)
                if reattached is not None:
                    self._flight_log.resume(delivery.partition, delivery.offset)
        self._rechecker.wake()
        self._pauses.apply()
        self._pump()

    # Records in flight

    def _pump(self) -> None:
        """Fill the free slots, taking one record of each partition in turn."""
        if self._pauses.held or self._failure is not None:
            return
        now = time.monotonic()
        while self._free > 0 and (turn := self._partitions.take()):
            state, delivery, risk = turn
            item = WorkItem(state, delivery, now, risk)
            self._isolation.began(risk)
            item.state.in_flight[item.delivery.offset] = item
            self._free -= 1
            item.task = asyncio.create_task(self._carry(item))
            self._pauses.relax(item.state)

    async def _carry(self, item: WorkItem) -> None:
        """Process one record, from its slot to its finished offset."""
        try:
            fault_point("work.begin")
            if not await self._may_work(item):
                return
            verdict = self._isolation.verdict(item.deaths)
            outcome = verdict or await self._attempts.outcome_of(item)
            await item.wait_until_publishable()
            fault_point("publish.begin")
            await self._attempts.settle(item, outcome)
            fault_point("publish.acknowledged")
            state = await item.wait_until_owned()
            state.tracker.finish(item.delivery.offset)
            self._committer.note_finished()
            item.phase = Phase.FINISHED
        except Exception as error:  # noqa: BLE001 - it ends the process, with its cause
            self.on_lost(error)
        finally:
            self._end(item)

    async def _may_work(self, item: WorkItem) -> bool:
        """Whether the record may run with those in flight; otherwise it is queued as a suspect."""
        alone = self._isolation.is_alone(item.risk)
        delivery = item.delivery
        deaths = await self._flight_log.begin(delivery.partition, delivery.offset, alone=alone)
        item.deaths, item.since, item.phase = deaths, time.monotonic(), Phase.WORKING
        item.attempts = deaths.total if self._isolation.is_killer(deaths) else 0
        risk = self._isolation.risk_of(deaths)
        if risk <= item.risk:
            return True
        item.phase = Phase.DEFERRED
        if not item.state.leaving:
            self._partitions.suspect(item.state, delivery, risk)
        return False

    def _note_end(self, item: WorkItem) -> None:
        """Remove the record from the flight log, unless it may be what ends the process."""
        if item.phase is Phase.FINISHED or not _may_blame_work(self._failure):
            self._flight_log.end(item.delivery.partition, item.delivery.offset)

    def _end(self, item: WorkItem) -> None:
        left_undone = item.phase not in (Phase.FINISHED, Phase.DEFERRED)
        if left_undone and not item.state.leaving and not self._stop.is_set():
            self.fail(
                Fatal(f"{item.delivery.partition} at {item.delivery.offset} was not processed")
            )
        self._note_end(item)
        self._isolation.ended(item.risk)
        self._partitions.release(item)
        self._free += 1
        self._settled.set()
        self._pauses.relax(item.state)
        self._pump()

    async def _sweep(self) -> None:
        """Abort the records whose deadline has passed, so that they are dead-lettered."""
        limit = self._settings.deadline_s
        while True:
            await asyncio.sleep(min(1.0, limit / 4))
            oldest = time.monotonic() - limit
            for item in self._partitions.work_items():
                if item.since < oldest and item.phase is Phase.WORKING and not item.expired:
                    item.expired = True
                    item.abort()

    async def _wait_until(self, done: Callable[[], bool], limit_s: float) -> None:
        deadline = time.monotonic() + limit_s
        while not done() and (left := deadline - time.monotonic()) > 0:
            self._settled.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._settled.wait()


def _settling(states: Iterable[PartitionState]) -> bool:
    return any(
        item.phase is Phase.SETTLING for state in states for item in state.in_flight.values()
    )


def _may_blame_work(failure: BaseException | None) -> bool:
    """Whether a record in flight may be the cause of this failure."""
    if failure is None:
        return False
    return isinstance(failure, EngineDead) or not isinstance(failure, Fatal)


def _surprise(error: BaseException) -> Fatal:
    fatal = Fatal(f"the stream loop failed ({reason_of(error)}): {error!r}")
    fatal.__cause__ = error
    return fatal


async def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    pending = [task for task in tasks if not task.done()]
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
