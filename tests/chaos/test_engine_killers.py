"""Prompts that end the engine, or the whole worker, among others."""

from __future__ import annotations

import asyncio
import os

import pytest

from promptmill.inference.scripted import KILLER_MARK
from promptmill_schemas import Message, Prompt
from support.chaos.audit import Audit
from support.chaos.pipeline import PipelineUnderTest
from support.chaos.prompts import CREATED_AT, prompts
from support.waiting import eventually

COUNT = int(os.environ.get("PROMPTMILL_TEST_KILLER_PROMPTS", "600"))
"""The killers' company; PROMPTMILL_TEST_KILLER_PROMPTS=2000 where there is time."""
PATIENCE_S = max(240.0, 0.4 * COUNT)

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.chaos,
    pytest.mark.real,
    pytest.mark.timeout(PATIENCE_S + 160),
]

ENDS_ENGINE, ENDS_PROCESS = 1, 2


def killers(run: str, count: int) -> list[Prompt]:
    asks = [Message(role="user", content=f"{KILLER_MARK} {n}, {run}") for n in range(count)]
    return [Prompt.create(run, (ask,), created_at=CREATED_AT) for ask in asks]


async def publish(pipeline: PipelineUnderTest, run: str, guilty: list[Prompt]) -> None:
    """The killers stand among the other prompts."""
    await pipeline.publish(prompts(f"{run}-a", COUNT // 2))
    await pipeline.publish(guilty)
    await pipeline.publish(prompts(f"{run}-b", COUNT // 2))


@pytest.mark.parametrize(("way", "count"), [(ENDS_ENGINE, 1), (ENDS_PROCESS, 1), (ENDS_PROCESS, 2)])
async def test_a_prompt_that_ends_its_worker_dies_alone(
    pipeline: PipelineUnderTest, way: int, count: int
) -> None:
    run = f"killer-{way}-{count}"
    guilty = killers(run, count)
    workers = pipeline.start_workers("instruct", 2, model=f"latency_s=0.05,tokens=20,killer={way}")
    await pipeline.ready()
    await publish(pipeline, run, guilty)
    audit = await pipeline.audit_when_settled(within_s=PATIENCE_S)
    only_killers_died(audit, count)
    print(
        f"{count} among {COUNT} prompts, {sum(worker.lives for worker in workers)} lives: {audit}"
    )
    assert sum(worker.lives for worker in workers) <= 2 + 6 * count


async def test_a_killer_dies_alone_although_redis_was_gone_in_between(
    pipeline: PipelineUnderTest,
) -> None:
    server = pipeline.backend.servers.redis
    workers = pipeline.start_workers("instruct", 2, model="latency_s=0.05,tokens=20,killer=2")
    await pipeline.ready()
    await publish(pipeline, "killer-redis", killers("killer-redis", 1))
    await eventually(lambda: sum(worker.lives for worker in workers) >= 3, 60)
    await asyncio.to_thread(server.kill)
    try:
        await asyncio.sleep(3)
    finally:
        await asyncio.to_thread(server.start)
        await asyncio.to_thread(server.wait_ready)
    only_killers_died(await pipeline.audit_when_settled(within_s=PATIENCE_S), 1)


def only_killers_died(audit: Audit, count: int) -> None:
    assert audit.dead == count, str(audit)
    assert audit.accepted + audit.rejected == COUNT, str(audit)
    assert dict(audit.reasons) == {"engine_killer": count}
