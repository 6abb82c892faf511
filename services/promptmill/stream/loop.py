"""The loop under every worker: deliveries in, outcomes out, offsets in order.

One :class:`StreamLoop` is one member of a consumer group. Polling never stops: deliveries
queue in lanes, and a lane that is full pauses its partition. A record takes a slot before
its work and gives it back after its outcome has settled, that is, when everything it
publishes is acknowledged. Only then is its offset finished, and only the contiguous finished
prefix of a partition is committed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress

import structlog

from promptmill.runtime.errors import EngineDead, Fatal, reason_of
from promptmill.runtime.fault_points import reach
from promptmill.runtime.timing import Deadline, until_stopped
from promptmill.stream.attempts import Attempts, Probe, Work
from promptmill.stream.commits import Committer
from promptmill.stream.in_flight import FlightLog, NoFlights
from promptmill.stream.intake import OrderedIntake, Rechecker
from promptmill.stream.isolation import Isolation
from promptmill.stream.lost_records import LogCheck, ReadAccepted
from promptmill.stream.partitions import Job, Lane, Lanes, Phase
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
        self._flights: FlightLog = NoFlights()
        self._isolation: Isolation[tuple[Lane, Delivery]] = Isolation(
            settings.slots, settings.engine_deaths
        )
        self._lanes = Lanes(self._isolation)
        self._intake = OrderedIntake()
        self._check = LogCheck(stage)
        self._pauses = Pauses(source, self._lanes, self._intake, settings)
        self._committer = Committer(source, self._lanes, settings)
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
        self._preparing: set[asyncio.Task[None]] = set()

    def accept_gaps(self, read: ReadAccepted) -> None:
        """Before :meth:`run`: ``read`` says which lost records of this stage were accepted."""
        self._check.accepted = read

    def remember_deaths(self, flights: FlightLog) -> None:
        """Before :meth:`run`: what is at work is noted in this log, beyond a worker's death."""
        self._flights = flights

    def prepare_with(self, prepare: Prepare) -> None:
        """Before :meth:`run`: ``prepare`` is awaited beside the polling at each assignment.

        Nothing is dispatched meanwhile of partitions for which the group has no commit.
        """
        self._prepare = prepare

    # What others see

    @property
    def in_flight(self) -> int:
        """Records in a slot now."""
        return self._settings.slots - self._free

    @property
    def waiting(self) -> int:
        """Records delivered and not yet in a slot."""
        return self._lanes.waiting

    @property
    def suspects(self) -> int:
        """Records of those that were at work when a worker died, and wait to run apart."""
        return self._isolation.waiting

    @property
    def assigned(self) -> list[Partition]:
        """Partitions of this member."""
        return [lane.partition for lane in self._lanes]

    @property
    def committed(self) -> dict[Partition, int]:
        """Where the group stands in each partition of this member."""
        return {lane.partition: lane.tracker.acknowledged for lane in self._lanes}

    def stop(self, deadline: Deadline | None = None) -> None:
        """Begin to drain; :meth:`run` returns when that is done, by the deadline at the latest."""
        self._deadline = self._deadline or deadline or Deadline(self._settings.grace_s)
        self._stop.set()

    def fail(self, error: BaseException) -> None:
        """End :meth:`run` with this error, without another commit. The first one wins."""
        self._failure = self._failure or error
        self.stop()

    @property
    def done(self) -> dict[Partition, int]:
        """Offsets done in each partition: the finished prefix, and as many as lie beyond it."""
        return {lane.partition: lane.tracker.done for lane in self._lanes}

    def hold(self) -> None:
        """Pull nothing more (backpressure); what is at work goes on, and so does polling."""
        self._pauses.hold(Hold.PRESSURE)

    def release(self) -> None:
        """Pull again, unless the loop drains."""
        self._pauses.release(Hold.PRESSURE)
        self._pump()

    # Lifetime

    async def run(self) -> None:
        """Work until :meth:`stop`, then drain within the grace period.

        Raises:
            Fatal: the process cannot go on; nothing that was in flight is committed.
        """
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._close, "flights", self._flights.stop)
            await self._sender.start()
            stack.push_async_callback(self._close, "sender", self._sender.stop)
            stack.push_async_callback(self._close, "source", self._source.stop)
            stack.push_async_callback(self._close, "tasks", self._cancel_tasks)
            joining = asyncio.create_task(self._source.start(self))
            await until_stopped(joining, self._stop)
            await (self.deadline.run("join", joining) if self._stop.is_set() else joining)
            work = (self._committer.run(), self._sweep(), self._rechecker.run())
            self._helpers = [self._guard(helper) for helper in work]
            await self._stop.wait()
            if self._failure is None:
                await self._drain()
        if self._failure is not None:
            raise self._failure

    @property
    def deadline(self) -> Deadline:
        """By when this loop has ended; running since :meth:`stop`, or since it is asked for."""
        self._deadline = self._deadline or Deadline(self._settings.grace_s)
        return self._deadline

    async def _close(self, step: str, action: Callable[[], Awaitable[object]]) -> None:
        await self.deadline.close(step, action, self.on_lost)

    async def _cancel_tasks(self) -> None:
        await _cancel([*self._helpers, *self._preparing])
        await _cancel(job.task for job in self._lanes.jobs() if job.task)

    async def _drain(self) -> None:
        """Dispatch nothing more, keep polling paused, finish what runs, commit."""
        log.info("draining", in_flight=self.in_flight, grace_s=self._settings.grace_s)
        self._pauses.hold(Hold.DRAIN)
        for lane in self._lanes:
            self._lanes.forget_backlog(lane)
        await self._wait_until(lambda: self.in_flight == 0, self.deadline.drain_left_s)
        left = self.in_flight
        await self._abort_working()
        await self.deadline.run("commit", self._committer.commit(list(self._lanes)))
        log.info("drained", left=left)

    async def _abort_working(self) -> None:
        """What would be published during the last commit, or after it, would be done twice."""
        for job in self._lanes.jobs():
            if job.phase in (Phase.STARTING, Phase.WORKING, Phase.WAITING):
                job.abort()
        limit_s = min(self._settings.revoke_budget_s, self.deadline.step_s)
        await self._wait_until(lambda: not _settling(self._lanes), limit_s)

    def _guard(self, helper: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """A helper task whose end, before the loop's own, ends the loop."""
        task = asyncio.create_task(helper)
        task.add_done_callback(self._on_helper_done)
        return task

    def _on_helper_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self.on_lost(task.exception() or RuntimeError("a background task ended unexpectedly"))

    # What the source says

    async def on_assigned(self, partitions: Collection[Partition]) -> None:
        """Open a lane for each at its committed position; adopt or abort what still runs."""
        reach("assign.begin")
        self._intake.close(partitions)
        try:
            starts = await read_starts(
                self._source, partitions, self._lanes.left, self._settings, self._check
            )
        except Fatal as error:
            self.fail(error)
            return
        committed = {partition: start.committed.offset for partition, start in starts.items()}
        deaths = await self._flights.read(committed)
        lanes = {p: self._lanes.open(p, s.committed, deaths.get(p)) for p, s in starts.items()}
        for partition, start in starts.items():
            lanes[partition].tracker.pass_over(start.offset)
            lanes[partition].preparing = start.is_first and self._prepare is not None
        self._open({p: s for p, s in starts.items() if not lanes[p].preparing}, lanes)
        aborted = self._lanes.abort_abandoned()
        self._pauses.begin(starts)
        self.joined.set()
        log.info("assigned", partitions=len(starts), aborted=aborted)
        if self._prepare is not None:
            opening = self._open_prepared(self._prepare, starts, lanes)
            self._preparing.add(task := asyncio.create_task(opening))
            task.add_done_callback(self._preparing.discard)

    async def _open_prepared(
        self, prepare: Prepare, starts: Mapping[Partition, Start], lanes: Mapping[Partition, Lane]
    ) -> None:
        try:
            await prepare(starts)
            self._open({p: s for p, s in starts.items() if lanes[p].preparing}, lanes)
            self._pauses.apply()
        except Exception as error:  # noqa: BLE001 - it ends the process, with its cause
            self.on_lost(error)

    def _open(self, starts: Mapping[Partition, Start], lanes: Mapping[Partition, Lane]) -> None:
        """Take deliveries of these, unless they have left since their lanes were opened."""
        for partition, start in starts.items():
            lanes[partition].preparing = False
            if self._lanes.get(partition) is lanes[partition] and not lanes[partition].leaving:
                self._source.seek(partition, start.offset)
                self._intake.expect(partition, start.offset)

    async def on_revoked(self, partitions: Collection[Partition]) -> None:
        """Stop dispatching, let what is being published settle, commit, then fence."""
        reach("revoke.begin")
        self._intake.close(partitions)
        lanes = [lane for p in partitions if (lane := self._lanes.get(p))]
        for lane in lanes:
            lane.leaving = True
            self._lanes.forget_backlog(lane)
        await self._wait_until(lambda: not _settling(lanes), self._settings.revoke_budget_s)
        await self._committer.commit(lanes, self._settings.revoke_budget_s)
        reach("revoke.committed")
        for lane in lanes:
            for job in lane.jobs.values():
                self._note_end(job)
        await self._flights.flush()
        self._lanes.close(partitions)
        log.info("revoked", partitions=len(lanes), running=self.in_flight)

    def on_lost(self, error: BaseException) -> None:
        """The source has failed for good: a process that polls nothing must end."""
        self.fail(error if isinstance(error, Fatal) else _surprise(error))

    async def on_records(self, batch: Sequence[Delivery]) -> None:
        """Queue what is expected; everything else comes again after a seek."""
        for delivery in batch:
            lane = self._lanes.get(delivery.partition)
            if lane is not None and self._intake.admit(delivery):
                self._read.records += 1
                self._read.bytes += delivery.size
                reattached = self._lanes.deliver(lane, delivery)
                if reattached is not None:
                    self._flights.resume(delivery.partition, delivery.offset)
        self._rechecker.wake()
        self._pauses.apply()
        self._pump()

    # Records at work

    def _pump(self) -> None:
        """Fill the free slots, one record of each partition in turn."""
        if self._pauses.held or self._failure is not None:
            return
        now = time.monotonic()
        while self._free > 0 and (turn := self._lanes.take()):
            lane, delivery, risk = turn
            job = Job(lane, delivery, now, risk)
            self._isolation.began(risk)
            job.lane.jobs[job.delivery.offset] = job
            self._free -= 1
            job.task = asyncio.create_task(self._carry(job))
            self._pauses.relax(job.lane)

    async def _carry(self, job: Job) -> None:
        """One record from its slot to its finished offset."""
        try:
            reach("work.begin")
            if not await self._may_work(job):
                return
            verdict = self._isolation.verdict(job.deaths)
            outcome = verdict or await self._attempts.outcome_of(job)
            await job.admission()
            reach("publish.begin")
            await self._attempts.settle(job, outcome)
            reach("publish.acknowledged")
            lane = await job.home()
            lane.tracker.finish(job.delivery.offset)
            self._committer.note_finished()
            job.phase = Phase.FINISHED
        except Exception as error:  # noqa: BLE001 - it ends the process, with its cause
            self.on_lost(error)
        finally:
            self._end(job)

    async def _may_work(self, job: Job) -> bool:
        """Whether it may run beside what runs now; else it waits among the suspects."""
        alone = self._isolation.is_alone(job.risk)
        delivery = job.delivery
        deaths = await self._flights.begin(delivery.partition, delivery.offset, alone=alone)
        job.deaths, job.since, job.phase = deaths, time.monotonic(), Phase.WORKING
        job.attempts = deaths.total if self._isolation.is_killer(deaths) else 0
        risk = self._isolation.risk_of(deaths)
        if risk <= job.risk:
            return True
        job.phase = Phase.DEFERRED
        if not job.lane.leaving:
            self._lanes.suspect(job.lane, delivery, risk)
        return False

    def _note_end(self, job: Job) -> None:
        """It is no longer at work, unless this process ends because of what is."""
        if job.phase is Phase.FINISHED or not _may_blame_work(self._failure):
            self._flights.end(job.delivery.partition, job.delivery.offset)

    def _end(self, job: Job) -> None:
        left_undone = job.phase not in (Phase.FINISHED, Phase.DEFERRED)
        if left_undone and not job.lane.leaving and not self._stop.is_set():
            self.fail(Fatal(f"{job.delivery.partition} at {job.delivery.offset} was not processed"))
        self._note_end(job)
        self._isolation.ended(job.risk)
        self._lanes.release(job)
        self._free += 1
        self._settled.set()
        self._pauses.relax(job.lane)
        self._pump()

    async def _sweep(self) -> None:
        """Bury the records whose deadline has passed."""
        limit = self._settings.deadline_s
        while True:
            await asyncio.sleep(min(1.0, limit / 4))
            oldest = time.monotonic() - limit
            for job in self._lanes.jobs():
                if job.since < oldest and job.phase is Phase.WORKING and not job.expired:
                    job.expired = True
                    job.abort()

    async def _wait_until(self, done: Callable[[], bool], limit_s: float) -> None:
        deadline = time.monotonic() + limit_s
        while not done() and (left := deadline - time.monotonic()) > 0:
            self._settled.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._settled.wait()


def _settling(lanes: Iterable[Lane]) -> bool:
    return any(job.phase is Phase.SETTLING for lane in lanes for job in lane.jobs.values())


def _may_blame_work(failure: BaseException | None) -> bool:
    """Whether the process ends because of what was at work, as far as it can tell."""
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
