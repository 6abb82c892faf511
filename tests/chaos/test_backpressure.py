"""Rows 29 to 34: what waits stays bounded, whatever happens to those who measure it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import redis

from promptmill.flow.board import FlowKeys, LagBoard
from promptmill.flow.figures import LEASE_S
from promptmill.flow.lags import Lags
from support.chaos.backend import committed
from support.chaos.pipeline import PipelineUnderTest
from support.chaos.prompts import prompts
from support.chaos.worker import Life, Terms, Worker
from support.waiting import eventually

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.chaos,
    pytest.mark.real,
    pytest.mark.timeout(420),
]

HIGH, LOW_SHARE, SLOTS = 100, 0.5, 16
GOVERNED = ("instruct", "reward", "filter")
READER_OF = {"completions": "reward", "scored": "filter", "records": "store", "rejects": "store"}
QUICK = "latency_s=0.01,tokens=20"
PATIENCE_S = 150.0
ASKED_KAFKA = 'promptmill_lag_reads_total{source="kafka"'


def marks(high: int) -> dict[str, str]:
    """The environment of a worker with these marks."""
    return {"PROMPTMILL_HIGH_RECORDS": str(high), "PROMPTMILL_LOW_SHARE": str(LOW_SHARE)}


class Marked:
    """A workers of one worker for each stage, with marks of a test's own."""

    def __init__(self, pipeline: PipelineUnderTest, high: int = HIGH) -> None:
        self.pipeline = pipeline
        self.high = high
        self.board = LagBoard(pipeline.backend.redis, pipeline.prefix)
        self.keys = FlowKeys(pipeline.prefix)

    def start_workers(self, stage: str, **settings: Any) -> Worker:
        def life() -> Life:
            return Life(environment=marks(self.high))

        terms = Terms(first=life(), following=life)
        (worker,) = self.pipeline.start_workers(stage, terms=terms, **settings)
        return worker

    async def start_all_workers(self) -> None:
        self.start_workers("store", flush_delay_s=0.3)
        await self.pipeline.ready()
        self.start_workers("filter", slots=SLOTS)
        self.start_workers("reward", slots=SLOTS)
        self.start_workers("instruct", slots=SLOTS, model=QUICK)
        await self.pipeline.ready()

    def of(self, stage: str) -> Worker:
        (worker,) = self.pipeline.of(stage)
        return worker

    async def lags(self) -> Lags:
        """What stands on the board, once something does."""
        found = await eventually(self.board.read, PATIENCE_S, "lags stand on the board")
        assert found is not None
        return found

    async def reader(self) -> Worker:
        """The worker that measures."""
        identity = (await self.lags()).reader
        return next(
            worker for worker in self.pipeline.workers if str(worker.pid) == identity.split("-")[-1]
        )

    async def newer_term(self, than: int) -> Lags:
        async def newer() -> Lags | None:
            found = await self.board.read()
            return found if found is not None and found.term > than else None

        found = await eventually(newer, PATIENCE_S, "another worker measures")
        assert found is not None
        return found

    async def metric(self, stage: str, name: str) -> float:
        return sum(
            value for key, value in (await self.of(stage).metrics()).items() if key.startswith(name)
        )

    async def all_held_at_rest(self) -> bool:
        """Whether every governed stage is held and has nothing in flight."""
        for stage in GOVERNED:
            if await self.metric(stage, "promptmill_held{") != 1:
                return False
            if await self.metric(stage, "promptmill_in_flight"):
                return False
        return True

    async def waiting(self) -> Mapping[str, int]:
        """Messages beyond the commits, by topic, from the logs themselves."""
        found = {}
        for topic, stage in READER_OF.items():
            ends = sum(end for (name, _), end in self.pipeline.log.ends.items() if name == topic)
            offsets = await committed(
                self.pipeline.backend, f"{self.pipeline.prefix}promptmill.{stage}"
            )
            full = self.pipeline.prefix + topic
            done = sum(at.offset for (name, _), at in offsets.items() if name == full)
            found[topic] = ends - done
        return found


@asynccontextmanager
async def running_workers(pipeline: PipelineUnderTest, high: int = HIGH) -> AsyncIterator[Marked]:
    """Workers of all stages; topics are full at ``high`` messages."""
    marked = Marked(pipeline, high)
    await marked.start_all_workers()
    yield marked
    await marked.board.close()


async def test_29_a_frozen_store_holds_every_stage_before_it(
    fresh_pipeline: PipelineUnderTest,
) -> None:
    """Each topic holds at most its mark and what was in flight; all is settled afterwards."""
    async with running_workers(fresh_pipeline) as marked:
        marked.of("store").signal(signal.SIGSTOP)
        try:
            await fresh_pipeline.publish(prompts("row-29", 1_500))
            await eventually(marked.all_held_at_rest, PATIENCE_S, "all stages are held")
            waiting = await at_rest(marked)
            print("waiting while the store is frozen:", waiting)
            assert max(waiting.values()) <= HIGH + SLOTS
            assert waiting["completions"] > HIGH * LOW_SHARE
            assert waiting["scored"] > HIGH * LOW_SHARE
            held = (await marked.of("instruct").metrics()).keys()
            assert any("promptmill_held_seconds_total" in name for name in held)
        finally:
            marked.of("store").signal(signal.SIGCONT)
        audit = await fresh_pipeline.audit_when_settled(within_s=240)
        assert audit.accepted + audit.rejected == 1_500
        assert {worker.lives for worker in fresh_pipeline.workers} == {1}


async def at_rest(marked: Marked) -> Mapping[str, int]:
    """What waits, once two looks agree: a stage at rest commits a moment later."""

    async def same_twice() -> Mapping[str, int] | None:
        first = await marked.waiting()
        await asyncio.sleep(2)
        return first if await marked.waiting() == first else None

    found = await eventually(same_twice, PATIENCE_S, "nothing moves any more")
    assert found is not None
    return found


async def test_30_the_reader_of_lags_dies(fresh_pipeline: PipelineUnderTest) -> None:
    """Another worker takes over, in a newer term, and what is published settles."""
    async with running_workers(fresh_pipeline) as marked:
        async with fresh_pipeline.flow("row-30", per_s=30):
            before = await marked.lags()
            with redis.Redis.from_url(fresh_pipeline.backend.redis) as client:
                reader = await marked.reader()
                reader.kill()
                seconds, micros = client.time()
                assert client.pttl(marked.keys.lease) <= 1000 * LEASE_S, "it ends by itself"
            killed_ms = seconds * 1000 + micros // 1000
            after = await marked.newer_term(before.term)
            print(f"taken over {after.term - killed_ms} ms after the kill, by Redis' clock")
            assert after.reader != before.reader
            await fresh_pipeline.advance("filter", 30)
        await fresh_pipeline.audit_when_settled(within_s=240)


async def test_31_two_readers_for_a_moment(fresh_pipeline: PipelineUnderTest) -> None:
    """One that wakes up in the belief that it measures overwrites nothing."""
    async with running_workers(fresh_pipeline) as marked:
        async with fresh_pipeline.flow("row-31", per_s=20):
            before = await marked.lags()
            frozen = await marked.reader()
            frozen.signal(signal.SIGSTOP)
            try:
                after = await marked.newer_term(before.term)
            finally:
                frozen.signal(signal.SIGCONT)
            seen = after.term
            for _ in range(40):
                await asyncio.sleep(0.1)
                lags = await marked.lags()
                assert lags.term >= seen, "an older term has overwritten a newer one's figures"
                seen = lags.term
        await fresh_pipeline.audit_when_settled(within_s=240)


@pytest.mark.parametrize("how", ["emptied", "stopped"])
async def test_32_redis_fails_those_who_measure(
    fresh_pipeline: PipelineUnderTest, how: str
) -> None:
    """They ask Kafka meanwhile; nobody ends, and the board stands again afterwards."""
    server = fresh_pipeline.backend.servers.redis
    async with running_workers(fresh_pipeline) as marked:
        async with fresh_pipeline.flow(f"row-32-{how}", per_s=30):
            before = await marked.lags()
            if how == "emptied":
                with redis.Redis.from_url(server.url) as client:
                    client.flushall()
            else:
                server.pause()
                try:
                    for stage in GOVERNED:
                        await eventually(partial(marked.metric, stage, ASKED_KAFKA), PATIENCE_S)
                finally:
                    server.resume()
            await marked.newer_term(before.term)
            await fresh_pipeline.advance("filter", 30, within_s=PATIENCE_S)
        await fresh_pipeline.audit_when_settled(within_s=240)
        assert {worker.lives for worker in fresh_pipeline.workers} == {1}


async def test_33_lags_are_stale(fresh_pipeline: PipelineUnderTest) -> None:
    """A lease whose holder measures nothing: every worker asks Kafka, and goes on."""
    async with running_workers(fresh_pipeline) as marked:
        before = await marked.lags()
        with redis.Redis.from_url(fresh_pipeline.backend.redis) as client:
            await eventually(lambda: usurp(client, marked.keys), PATIENCE_S)
            await fresh_pipeline.publish(prompts("row-33", 300))
            for stage in GOVERNED:
                await eventually(partial(marked.metric, stage, ASKED_KAFKA), PATIENCE_S)
            await fresh_pipeline.audit_when_settled(within_s=240)
            client.delete(marked.keys.lease)
        await marked.newer_term(before.term)


def usurp(client: redis.Redis, keys: FlowKeys) -> bool:
    """Hold the lease for long without ever measuring."""
    client.set(keys.lease, "somebody-else", px=600_000)
    client.incr(keys.term)
    return client.get(keys.lease) == b"somebody-else"


async def test_34_marks_change_while_it_runs(fresh_pipeline: PipelineUnderTest) -> None:
    """Workers that are restarted with other marks obey those at once."""
    async with running_workers(fresh_pipeline) as marked:
        marked.of("store").signal(signal.SIGSTOP)
        try:
            await fresh_pipeline.publish(prompts("row-34", 2_000))
            await eventually(marked.all_held_at_rest, PATIENCE_S, "all stages are held")
            marked.high = 4 * HIGH
            for stage in GOVERNED:
                await marked.of(stage).restart()
            await fresh_pipeline.ready()

            async def more_waits() -> bool:
                waiting = await marked.waiting()
                return waiting["scored"] > HIGH + SLOTS and waiting["completions"] > HIGH + SLOTS

            await eventually(more_waits, PATIENCE_S, "it fills up to the new marks")
            await eventually(marked.all_held_at_rest, PATIENCE_S, "all stages are held again")
            waiting = await at_rest(marked)
            assert max(waiting.values()) <= 4 * HIGH + SLOTS
        finally:
            marked.of("store").signal(signal.SIGCONT)
        await fresh_pipeline.audit_when_settled(within_s=240)
