"""Rows 15 and 17: three brokers, of which one is missing or is bounced after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from support.chaos.backend import Backend, require_replicas
from support.chaos.pipeline import PipelineUnderTest
from support.stack import running_servers, unique_name

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.chaos,
    pytest.mark.real,
    pytest.mark.timeout(240),
]


@pytest.fixture(scope="module")
def three_brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """Replication 3, two of them in step."""
    with running_servers(tmp_path_factory.mktemp("three"), brokers=3) as servers:
        yield Backend(servers, tmp_path_factory.mktemp("plants"))


@pytest_asyncio.fixture(loop_scope="session")
async def pipeline(three_brokers: Backend) -> AsyncIterator[PipelineUnderTest]:
    """A whole pipeline on three brokers."""
    pipeline = PipelineUnderTest(three_brokers, f"{unique_name('c')}.")
    async with pipeline.running():
        await pipeline.start_other_stages()
        pipeline.start_workers("instruct", model="latency_s=0.05,sigma=1.0,tokens=20")
        await pipeline.ready()
        yield pipeline


async def test_15_not_enough_replicas_for_a_while(pipeline: PipelineUnderTest) -> None:
    """Every write is refused while one of three required copies is missing; nothing is done."""
    cluster = pipeline.backend.servers.kafka
    async with pipeline.flow("row-15", per_s=25):
        await pipeline.advance("instruct", 20)
        await require_replicas(pipeline.backend, pipeline.prefix, 3)
        await asyncio.to_thread(cluster.kill, 3)
        await asyncio.sleep(8)
        await asyncio.to_thread(cluster.restart, 3)
        await pipeline.advance("filter", 20, within_s=60)
        await require_replicas(pipeline.backend, pipeline.prefix, 2)
    await pipeline.audit_when_settled(within_s=120)


@pytest.mark.parametrize("how", ["hard", "clean"])
async def test_17_every_broker_bounced_in_turn(pipeline: PipelineUnderTest, how: str) -> None:
    """Each group's coordinator moves at least once, in the middle of its commits."""
    cluster = pipeline.backend.servers.kafka
    async with pipeline.flow(f"row-17-{how}", per_s=15):
        await pipeline.advance("instruct", 20)
        for node in cluster.brokers:
            if how == "hard":
                await asyncio.to_thread(cluster.kill, node)
            await asyncio.to_thread(cluster.restart, node)
            for stage in ("instruct", "filter"):
                await pipeline.advance(stage, 5, within_s=60)
    await pipeline.audit_when_settled(within_s=120)
