"""Backpressure at work: a publisher meets a store that is slow, then frozen. Bounded, audited.

The store is let through in short slices, so that it stores so many rows a second. In between it
is frozen for minutes, the worker that measures the lags is killed, and Redis is stopped. All the
time the memory of every process and the lag of every topic are measured from outside, without
any code under test.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import psutil
import redis
from aiokafka.errors import KafkaError

from promptmill.devstack.stack import attach, down, up
from promptmill.flow.board import FlowKeys
from support.chaos.audit import Audit
from support.chaos.backend import Backend, committed
from support.chaos.fault_injector import SERVER_READY_S
from support.chaos.pipeline import PipelineUnderTest
from support.chaos.report import machine
from support.chaos.tables import Positions, read_positions
from support.chaos.topic_log import COMPLETIONS, INPUTS, PROMPTS, RECORDS, REJECTS, SCORED
from support.chaos.worker import Worker
from support.waiting import eventually

PARTITIONS = 12
LOOK_EVERY_S = 1.0
SLICE_S = 0.1
SAY_EVERY_S = 15.0
LONGEST_STOP_S = 3.0
"""Shorter than a session, so that a slow store stays a member of its group."""

WARM_UP_S = 60.0
COURSE_POINTS = 60
IN_FLIGHT = {PROMPTS: 2_000, COMPLETIONS: 64, SCORED: 64, RECORDS: 512, REJECTS: 512}
"""What those who write to a topic may still finish after they were held, with this workers."""


@dataclass(frozen=True, slots=True)
class PressurePlan:
    """What to do.

    Attributes:
        records: prompts to publish.
        rate: rows a second that the store takes.
        freeze_s: for how long the store is frozen.
        redis_down_s: for how long Redis is stopped.
        high_records: the high-water mark of every topic.
        home: servers' data, store, logs and input.
    """

    records: int
    rate: float
    freeze_s: float
    redis_down_s: float
    high_records: int
    home: Path


@dataclass(slots=True)
class Measured:
    """What was measured from outside.

    Attributes:
        lag: the largest lag of each topic, in records.
        memory: by process, pairs of time (seconds) and resident bytes.
    """

    lag: dict[str, int] = field(default_factory=dict)
    memory: dict[str, list[tuple[float, int]]] = field(default_factory=dict)

    def note_lag(self, topic: str, lag: int) -> None:
        """Keep the largest."""
        self.lag[topic] = max(lag, self.lag.get(topic, 0))

    def note_memory(self, process: str, size: int) -> None:
        """Keep all."""
        self.memory.setdefault(process, []).append((time.monotonic(), size))

    def growth(self) -> dict[str, float]:
        """By process: how much the last third is above the first third after the warm-up."""
        return {name: g for name, of in self.memory.items() if (g := _growth(of)) is not None}

    def course(self) -> dict[str, list[tuple[int, int]]]:
        """By process: at most so many pairs of time (seconds) and resident size (MiB)."""
        return {name: _course(samples) for name, samples in self.memory.items()}

    def beyond(self, high_records: int) -> dict[str, int]:
        """Topics whose lag was ever above the mark and what was in flight, with that lag."""
        return {t: lag for t, lag in self.lag.items() if lag > high_records + IN_FLIGHT[t]}


def _course(samples: list[tuple[float, int]]) -> list[tuple[int, int]]:
    every = max(1, len(samples) // COURSE_POINTS)
    began = samples[0][0]
    return [(round(at - began), size >> 20) for at, size in samples[::every]]


def _growth(samples: list[tuple[float, int]]) -> float | None:
    warm = [size for at, size in samples if at >= samples[0][0] + WARM_UP_S]
    third = len(warm) // 3
    if not third:
        return None
    return round(sum(warm[-third:]) / sum(warm[:third]) - 1, 4)


class PressureRun:
    """One run; the audit must be clean, and every topic must stay within its mark.

    Args:
        say: told about the progress, in lines.
    """

    def __init__(self, plan: PressurePlan, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._say = say
        self._started = time.monotonic()
        self._frozen = False
        self.measured = Measured()
        self._stored = 0
        self._publisher: int | None = None
        self.took_s = 0.0

    async def run(self) -> Audit:
        """Publish everything, disturb, wait until all is settled, audit.

        Raises:
            AssertionError: the audit is not clean.
        """
        async with self._pipeline() as pipeline:
            (store,) = pipeline.start_workers("store")
            await pipeline.ready()
            pipeline.start_workers("filter")
            pipeline.start_workers("reward", 2)
            pipeline.start_workers("instruct", 2)
            await pipeline.ready()
            background = [
                asyncio.create_task(self._slow(store)),
                asyncio.create_task(self._look(pipeline)),
            ]
            async with asyncio.TaskGroup() as group:
                group.create_task(self._publish(pipeline))
                group.create_task(self._disturb(pipeline, store))
            self._say("settling")
            await _settled(pipeline, self._plan.records, 10 * self._plan.records / self._plan.rate)
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            store.signal(signal.SIGCONT)
            self.took_s = time.monotonic() - self._started
            return await pipeline.audit_when_settled(300)

    @asynccontextmanager
    async def _pipeline(self) -> AsyncIterator[PipelineUnderTest]:
        home = self._plan.home
        os.environ["PROMPTMILL_HIGH_RECORDS"] = str(self._plan.high_records)
        os.environ["PROMPTMILL_PROMPTS_HIGH_RECORDS"] = str(self._plan.high_records)
        up(home, 1)
        try:
            servers = attach(home)
            assert servers is not None
            pipeline = PipelineUnderTest(Backend(servers, home), "pressure.", PARTITIONS)
            async with pipeline.running(keep=True):
                yield pipeline
        finally:
            down(home)

    # What is done

    async def _publish(self, pipeline: PipelineUnderTest) -> None:
        """Everything, by the command that users have."""
        source, receipts = self._plan.home / "prompts.jsonl", self._plan.home / "receipts.jsonl"
        _write_prompts(source, self._plan.records)
        with (self._plan.home / "publish.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "promptmill.cli", "publish", str(source)),
                *("--run", "pressure", "--receipts", str(receipts), "--json"),
                stdout=log,
                stderr=log,
                env=pipeline.environment("publish", {}),
            )
            self._publisher = process.pid
            code = await process.wait()
        assert code == 0, f"publish ended with {code}: see {self._plan.home}/publish.log"
        for line in receipts.read_bytes().splitlines():
            pipeline.admit(orjson.loads(line)["prompt_id"])

    async def _disturb(self, pipeline: PipelineUnderTest, store: Worker) -> None:
        """Freeze the store; kill the reader of the lags and stop Redis meanwhile."""
        await asyncio.sleep(WARM_UP_S)
        self._say(f"the store is frozen for {self._plan.freeze_s:g} s")
        self._frozen = True
        store.signal(signal.SIGSTOP)
        await asyncio.sleep(self._plan.freeze_s / 3)
        self._kill_reader(pipeline)
        await asyncio.sleep(self._plan.freeze_s / 6)
        self._say(f"Redis is stopped for {self._plan.redis_down_s:g} s")
        server = pipeline.backend.servers.redis
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(self._plan.redis_down_s)
        await asyncio.to_thread(server.start)
        await asyncio.to_thread(server.wait_ready, SERVER_READY_S)
        await asyncio.sleep(max(0.0, self._plan.freeze_s / 2 - self._plan.redis_down_s))
        self._frozen = False
        store.signal(signal.SIGCONT)
        self._say("the store goes on")

    def _kill_reader(self, pipeline: PipelineUnderTest) -> None:
        """SIGKILL for the worker that holds the lease of the lags, or else for any other."""
        with redis.Redis.from_url(pipeline.backend.redis, decode_responses=True) as client:
            holder_id = client.get(FlowKeys("pressure.").lease)
        others = [worker for worker in pipeline.workers if worker.stage != "store"]
        holder = next((w for w in others if f"-{w.pid}" in str(holder_id)), None)
        victim = holder or others[0]
        self._say(
            f"kill {victim.name}, {'which measures the lags' if holder else 'not the reader'}"
        )
        victim.kill()

    async def _slow(self, store: Worker) -> None:
        """Let the store through in slices, so that it stores ``rate`` rows a second."""
        before, started = self._stored, time.monotonic()
        while True:
            if self._frozen:
                await asyncio.sleep(LOOK_EVERY_S)
                before, started = self._stored, time.monotonic()
                continue
            store.signal(signal.SIGCONT)
            await asyncio.sleep(SLICE_S)
            ahead = (self._stored - before) / self._plan.rate - (time.monotonic() - started)
            if ahead > 0 and not self._frozen:
                store.signal(signal.SIGSTOP)
                await asyncio.sleep(min(ahead, LONGEST_STOP_S))

    # What is seen

    async def _look(self, pipeline: PipelineUnderTest) -> None:
        """Measure once a second; a broker that does not answer in time is asked again."""
        said = 0.0
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            with suppress(KafkaError, OSError):
                await self._look_at_lags(pipeline)
            self._look_at_memory(pipeline)
            if time.monotonic() > said + SAY_EVERY_S:
                said = time.monotonic()
                self._say(f"{self._stored} rows stored, largest lags {self.measured.lag}")
                sizes = {name: of[-1][1] >> 20 for name, of in self.measured.memory.items()}
                self._say(f"resident MiB {sizes}")

    async def _look_at_lags(self, pipeline: PipelineUnderTest) -> None:
        done = await asyncio.to_thread(
            read_positions, pipeline.store, pipeline.prefix, pipeline.partitions
        )
        self._stored = sum(done[at] for at in done if at[0] in (RECORDS, REJECTS))
        for topic in (RECORDS, REJECTS):
            self._note_lag(pipeline, topic, done)
        for stage, topic in INPUTS.items():
            offsets = await committed(pipeline.backend, f"{pipeline.prefix}promptmill.{stage}")
            done = {(topic, p): at.offset for (name, p), at in offsets.items()}
            self._note_lag(pipeline, topic, done)

    def _note_lag(self, pipeline: PipelineUnderTest, topic: str, done: Positions) -> None:
        ends = {at: end for at, end in pipeline.log.ends.items() if at[0] == topic}
        self.measured.note_lag(topic, sum(end - done.get(at, 0) for at, end in ends.items()))

    def _look_at_memory(self, pipeline: PipelineUnderTest) -> None:
        pids: dict[str, int | None] = {worker.name: worker.pid for worker in pipeline.workers}
        for name, pid in {**pids, "publish": self._publisher}.items():
            if pid is not None:
                with suppress(psutil.Error):
                    size = psutil.Process(pid).memory_info().rss
                    self.measured.note_memory(f"{name} ({pid})", size)


def _write_prompts(path: Path, number: int) -> None:
    with path.open("wb") as lines:
        for n in range(number):
            lines.write(orjson.dumps({"prompt": f"How long is the {n}th mile?"}) + b"\n")


async def _settled(pipeline: PipelineUnderTest, number: int, within_s: float) -> None:
    """Wait until so many prompts are settled on the topics."""
    await eventually(lambda: len(pipeline.log.settled) >= number, within_s, f"{number} settled")


def report(plan: PressurePlan, run: PressureRun, audit: Audit) -> dict[str, Any]:
    """The figures, for people and for machines."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "prompts": audit.published,
        "rows_per_s": plan.rate,
        "store_frozen_s": plan.freeze_s,
        "redis_stopped_s": plan.redis_down_s,
        "took_s": round(run.took_s),
        "high_records": plan.high_records,
        "largest_lags": run.measured.lag,
        "beyond_mark_and_in_flight": run.measured.beyond(plan.high_records),
        "memory_growth": run.measured.growth(),
        "memory_mib": run.measured.course(),
        "lost": len(audit.lost),
        "doubled": len(audit.doubled),
        "gaps": len(audit.gaps),
    }
