"""A long run: records flow, faults strike, and at the end everything is audited. Resumable."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from random import Random

from promptmill.cli.counts import OutcomeCounts
from promptmill.cli.store_counts import open_counts
from promptmill.devstack.stack import attach, down, up
from support.chaos.audit import Audit
from support.chaos.backend import Backend
from support.chaos.commits import CommitWatch
from support.chaos.fault_injector import FaultInjector, armed_life
from support.chaos.journal import Journal
from support.chaos.network import NetworkLink, link, listen_at_link, why_not
from support.chaos.pipeline import PipelineUnderTest
from support.chaos.prompts import prompt
from support.chaos.recovery import recovery, times_of_stages
from support.chaos.sending import Send, publish, sending
from support.chaos.worker import Terms

PARTITIONS = 12
BACKLOG = 3_000
BATCH = 50
IDLE_PER_S = 20.0
LOOK_EVERY_S = 1.0
SETTLED_WITHIN_S = 900.0
WORKERS: Mapping[str, int] = {"instruct": 3, "reward": 2, "filter": 2, "store": 2}


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do.

    Attributes:
        records: prompts to publish, at least.
        kills: worker processes to kill, at least.
        seed: of prompts, faults and their order.
        minutes: stop earlier; the same command goes on later.
        pause_s: mean time between two faults.
        home: servers' data, store, logs and journal.
        workers: workers by stage.
    """

    records: int
    kills: int
    seed: int
    minutes: float
    pause_s: float
    brokers: int
    home: Path
    workers: Mapping[str, int] = field(default_factory=lambda: WORKERS)


class Campaign:
    """One run, or its continuation.

    Args:
        say: told about the progress, in lines.
    """

    def __init__(self, plan: Plan, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._say = say
        self._journal = Journal.open(plan.home / "journal.json", plan.seed)
        self._started = time.monotonic()
        self._over = asyncio.Event()

    async def run(self) -> tuple[Journal, Audit]:
        """Until there were enough records and kills, or the time is over; then settle and audit.

        Raises:
            AssertionError: the audit is not clean.
        """
        async with self._pipeline() as (pipeline, wire):
            watch = CommitWatch(pipeline.store, pipeline.prefix)
            self._admit_those_before(pipeline)
            await self._start_workers(pipeline, wire)
            fault_injector = FaultInjector(pipeline, self._plan.seed, wire, self._run_name)
            watching = asyncio.create_task(self._look(pipeline, watch))
            async with asyncio.TaskGroup() as group:
                group.create_task(self._publish(pipeline))
                group.create_task(self._disturb(pipeline, fault_injector))
            self._say("settling")
            audit = await pipeline.audit_when_settled(SETTLED_WITHIN_S)
            self._compare(pipeline, audit)
            watching.cancel()
            watch.look()
            self._close(pipeline, watch)
        return self._journal, audit

    def _compare(self, pipeline: PipelineUnderTest, audit: Audit) -> None:
        """What `promptmill status` says, from the numbers that the sinks keep."""
        counted = open_counts(str(pipeline.store)).settled(self._run_name)
        found = OutcomeCounts(audit.accepted, audit.rejected, audit.dead)
        assert counted == found, f"the sinks have counted {counted}, the rows say {found}"

    # The pipeline

    @asynccontextmanager
    async def _pipeline(self) -> AsyncIterator[tuple[PipelineUnderTest, NetworkLink | None]]:
        home = self._plan.home
        with self._servers(home) as backend, self._link() as wire:
            pipeline = PipelineUnderTest(backend, f"chaos{self._plan.seed}.", PARTITIONS)
            async with pipeline.running(keep=True):
                yield pipeline, wire

    @contextmanager
    def _servers(self, home: Path) -> Iterator[Backend]:
        up(home, self._plan.brokers)
        try:
            servers = attach(home)
            assert servers is not None
            yield Backend(servers, home)
        finally:
            down(home)

    @contextmanager
    def _link(self) -> Iterator[NetworkLink | None]:
        if self._plan.brokers > 1:
            self._say("no network cuts: the network link reaches one broker only")
            yield None
        elif reason := why_not():
            self._say(f"no network cuts: {reason}")
            yield None
        else:
            with link() as made:
                yield made

    async def _start_workers(self, pipeline: PipelineUnderTest, wire: NetworkLink | None) -> None:
        """Some keep their membership over restarts, some do not; one is behind the network link."""
        if wire is not None:
            there = await asyncio.to_thread(listen_at_link, wire, pipeline.backend.servers.kafka)
            pipeline.start_workers("instruct", 1, Terms(before=wire.inside), kafka=there, redis="")
        draw = Random(f"{self._plan.seed}.lives.{len(self._journal.sessions)}")
        for stage, number in self._plan.workers.items():
            terms = Terms(following=partial(armed_life, stage, draw))
            pipeline.start_workers(stage, 1, terms, instance_id=f"{stage}-static")
            pipeline.start_workers(stage, number - 1, terms)
        await pipeline.ready()

    # Records

    def _admit_those_before(self, pipeline: PipelineUnderTest) -> None:
        """What an earlier session published must be settled too."""
        for number in range(self._journal.published):
            pipeline.admit(self._prompt_id(number))

    def _prompt_id(self, number: int) -> str:
        return prompt(self._run_name, number).prompt_id

    @property
    def _run_name(self) -> str:
        return f"chaos-{self._plan.seed}"

    async def _publish(self, pipeline: PipelineUnderTest) -> None:
        """Keep a backlog; when there were enough records, a trickle for the faults that remain."""
        async with sending(pipeline.backend.kafka, pipeline.prefix) as send:
            while not self._over.is_set():
                await self._publish_some(pipeline, send)

    async def _publish_some(self, pipeline: PipelineUnderTest, send: Send) -> None:
        if self._backlog(pipeline) > BACKLOG:
            await asyncio.sleep(0.1)
            return
        first = self._journal.published
        if first >= self._plan.records:
            await asyncio.sleep(BATCH / IDLE_PER_S)
        batch = [prompt(self._run_name, number) for number in range(first, first + BATCH)]
        await publish(send, batch, pipeline.admit)
        self._journal.published = first + BATCH

    def _backlog(self, pipeline: PipelineUnderTest) -> int:
        return len(pipeline.published) - len(pipeline.log.settled)

    # Faults

    async def _disturb(self, pipeline: PipelineUnderTest, fault_injector: FaultInjector) -> None:
        draw = Random(f"{self._plan.seed}.pauses")
        while not self._is_enough(pipeline):
            await asyncio.sleep(draw.expovariate(1 / self._plan.pause_s))
            await fault_injector.strike(self._journal.strikes)
            self._journal.strikes += 1
            self._journal.note(pipeline.faults.faults, self._elapsed_s)
            self._journal.save()
        self._over.set()
        await fault_injector.rest()

    def _is_enough(self, pipeline: PipelineUnderTest) -> bool:
        if self._elapsed_s > self._plan.minutes * 60:
            return True
        journal, plan = self._journal, self._plan
        return journal.published >= plan.records and journal.kills >= plan.kills

    async def _look(self, pipeline: PipelineUnderTest, watch: CommitWatch) -> None:
        for second in count():
            watch.look()
            if second % 10 == 0:
                self._say(self._progress(pipeline))
            await asyncio.sleep(LOOK_EVERY_S)

    def _progress(self, pipeline: PipelineUnderTest) -> str:
        self._journal.note(pipeline.faults.faults, self._elapsed_s)
        return (
            f"{self._elapsed_s:6.0f} s  {len(pipeline.published):,} published, "
            f"{len(pipeline.log.settled):,} settled, {self._journal.strikes} faults, "
            f"{self._journal.kills} kills"
        )

    def _close(self, pipeline: PipelineUnderTest, watch: CommitWatch) -> None:
        """Write down what this session did and how long each recovery took."""
        times = times_of_stages(pipeline.log.messages, watch.stored_at)
        found = [(fault, recovery(fault, times)) for fault in pipeline.faults.faults]
        self._journal.close_session(found, self._elapsed_s)

    @property
    def _elapsed_s(self) -> float:
        """Seconds since this session started."""
        return time.monotonic() - self._started
