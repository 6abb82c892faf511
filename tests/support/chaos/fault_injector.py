"""Faults drawn from a seed, and done to a pipeline, one after the other."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random

import redis

from support.chaos.network import NetworkLink
from support.chaos.operators import Operators
from support.chaos.pipeline import SESSION_S, PipelineUnderTest
from support.chaos.worker import Life, Worker

POINTS = {
    "loop": (
        "work.begin",
        "publish.begin",
        "publish.acknowledged",
        "commit.begin",
        "commit.acknowledged",
        "revoke.begin",
        "revoke.committed",
        "assign.begin",
    ),
    "filter": ("filter.claimed",),
    "store": tuple(
        f"store.{step}.{table}"
        for step in ("claimed", "checked", "written", "committed")
        for table in ("prompts", "records", "rejects", "dead_letters")
    ),
}
"""Named fault points, by the workers that pass them."""

ARMED_SHARE = 0.3
"""Of the processes that are started again: how many are told to die at a named point."""

SERVER_READY_S = 600.0
"""How long a server may take to answer again; a machine under a campaign is busy."""

PASSAGES = {"work": 200, "publish": 200, "filter": 200}
"""A point of this kind strikes at a passage up to this one; others at one of the first four."""


def armed_life(stage: str, draw: Random) -> Life:
    """The next process: usually without faults, now and then with a point at which it dies."""
    if draw.random() >= ARMED_SHARE:
        return Life()
    points = POINTS["store"] if stage == "store" else POINTS["loop"] + POINTS.get(stage, ())
    point = draw.choice(points)
    passage = draw.randint(1, PASSAGES.get(point.split(".")[0], 4))
    return Life(f"{point}=kill#{passage}")


@dataclass(frozen=True, slots=True)
class Act:
    """One kind of fault.

    Attributes:
        weight: how often it is drawn, against the others.
        alone: nothing else is done while it lasts.
    """

    name: str
    weight: int
    do: Callable[[Random], Awaitable[None]]
    alone: bool = False


class FaultInjector:
    """Draws and does faults.

    Args:
        network link: to the worker in a network of its own, if there is one.
        seed: the fault of one number is the same for the same seed.
        run: of the prompts.
    """

    def __init__(
        self, pipeline: PipelineUnderTest, seed: int, link: NetworkLink | None, run: str
    ) -> None:
        self._pipeline = pipeline
        self._operators = Operators(pipeline, run)
        self._seed = seed
        self._link = link
        self._background: set[asyncio.Future[None]] = set()
        self.acts = self._acts()

    def _acts(self) -> Sequence[Act]:
        acts = (
            Act("sigkill", 60, self._kill),
            Act("sigterm", 10, self._terminate),
            Act("freeze", 6, self._freeze),
            Act("guest", 8, self._guest),
            Act("broker-kill", 2, self._kill_broker, alone=True),
            Act("broker-restart", 1, self._restart_broker, alone=True),
            Act("broker-freeze", 1, self._freeze_broker, alone=True),
            Act("redis-kill", 2, self._kill_redis, alone=True),
            Act("redis-freeze", 1, self._freeze_redis, alone=True),
            Act("redis-flush", 2, self._flush_redis),
            Act("redis-replica", 2, self._operators.attach_replica, alone=True),
            Act("redis-evicting", 2, self._operators.allow_eviction, alone=True),
            Act("below-min-isr", 1, self._operators.require_too_many_replicas, alone=True),
            Act("partition-added", 2, self._operators.add_partition, alone=True),
            Act("poison", 4, self._operators.poison),
        )
        return (*acts, Act("cut", 2, self._cut)) if self._link else acts

    async def strike(self, number: int) -> None:
        """Do the fault of this number; what lasts goes on in the background."""
        draw = Random(f"{self._seed}.{number}")
        (act,) = draw.choices(self.acts, [act.weight for act in self.acts])
        if act.alone:
            await act.do(draw)
            return
        task = asyncio.ensure_future(act.do(draw))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def rest(self) -> None:
        """Wait until everything that was disturbed is whole again."""
        if self._background:
            await asyncio.gather(*self._background)

    # Workers

    def _victim(self, draw: Random) -> Worker:
        return draw.choice(
            [w for w in self._pipeline.workers if w.is_running] or self._pipeline.workers
        )

    async def _kill(self, draw: Random) -> None:
        self._victim(draw).kill()

    async def _terminate(self, draw: Random) -> None:
        victim = self._victim(draw)
        if victim.is_running:
            with suppress(AssertionError):  # it was killed or frozen meanwhile
                await victim.restart()

    async def _freeze(self, draw: Random) -> None:
        await self._victim(draw).freeze(SESSION_S + draw.uniform(1, 6))

    async def _guest(self, draw: Random) -> None:
        """Somebody joins for a while, then leaves in an orderly way, or is killed."""
        stage = draw.choice(("instruct", "reward", "filter", "store"))
        self._pipeline.faults.add("guest", stage, stage)
        (extra_worker,) = self._pipeline.start_workers(stage)
        await asyncio.sleep(draw.uniform(8, 20))
        how = draw.choice((signal.SIGTERM, signal.SIGKILL))
        if how == signal.SIGKILL:
            self._pipeline.faults.add("sigkill", extra_worker.name, stage, "a guest")
        self._pipeline.workers.remove(extra_worker)
        await extra_worker.stop(how)

    async def _cut(self, draw: Random) -> None:
        if self._link is None:
            return
        seconds = draw.choice((10, 10, 30, 120))
        fault = self._pipeline.faults.add("cut", "instruct", "instruct", f"{seconds} s")
        self._link.cut()
        try:
            await asyncio.sleep(seconds)
        finally:
            self._link.mend()
            fault.until = fault.at + seconds

    # Servers

    async def _kill_broker(self, draw: Random) -> None:
        kafka = self._pipeline.backend.servers.kafka
        node = draw.choice(sorted(kafka.brokers))
        self._pipeline.faults.add("broker-kill", f"kafka-{node}")
        await asyncio.to_thread(kafka.kill, node)
        await asyncio.sleep(draw.uniform(0, 5))
        await asyncio.to_thread(kafka.restart, node, SERVER_READY_S)

    async def _restart_broker(self, draw: Random) -> None:
        kafka = self._pipeline.backend.servers.kafka
        node = draw.choice(sorted(kafka.brokers))
        self._pipeline.faults.add("broker-restart", f"kafka-{node}")
        await asyncio.to_thread(kafka.restart, node, SERVER_READY_S)

    async def _freeze_broker(self, draw: Random) -> None:
        kafka = self._pipeline.backend.servers.kafka
        node = draw.choice(sorted(kafka.brokers))
        self._pipeline.faults.add("broker-freeze", f"kafka-{node}")
        await asyncio.to_thread(kafka.pause, node)
        try:
            await asyncio.sleep(draw.uniform(1, SESSION_S + 4))
        finally:
            await asyncio.to_thread(kafka.resume, node)

    async def _kill_redis(self, draw: Random) -> None:
        server = self._pipeline.backend.servers.redis
        self._pipeline.faults.add("redis-kill", "redis")
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(draw.uniform(0, 5))
        await asyncio.to_thread(server.start)
        await asyncio.to_thread(server.wait_ready, SERVER_READY_S)

    async def _freeze_redis(self, draw: Random) -> None:
        server = self._pipeline.backend.servers.redis
        self._pipeline.faults.add("redis-freeze", "redis")
        await asyncio.to_thread(server.pause)
        try:
            await asyncio.sleep(draw.uniform(1, 6))
        finally:
            await asyncio.to_thread(server.resume)

    async def _flush_redis(self, draw: Random) -> None:
        self._pipeline.faults.add("redis-flush", "redis")
        await asyncio.to_thread(self._flush)

    def _flush(self) -> None:
        with (
            suppress(redis.RedisError),  # it is down at the moment, which is a fault too
            redis.Redis.from_url(self._pipeline.backend.redis, socket_timeout=5) as client,
        ):
            client.flushall()
