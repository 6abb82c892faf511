"""A worker whose network goes away: nothing is refused, nothing answers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from support.chaos.backend import Backend
from support.chaos.network import NetworkLink, link, listen_at_link, why_not
from support.chaos.pipeline import PipelineUnderTest
from support.chaos.worker import Terms, Worker
from support.stack import running_servers, unique_name
from support.waiting import eventually

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.chaos,
    pytest.mark.real,
    pytest.mark.timeout(600),
]

CUTS_S = [float(cut) for cut in os.environ.get("PROMPTMILL_TEST_CUTS_S", "10,30").split(",")]
"""120 s as well where there is time: PROMPTMILL_TEST_CUTS_S=10,30,120."""
BACK_WITHIN_S = 60
MODEL = "latency_s=0.05,sigma=1.0,tokens=20"


@pytest.fixture(scope="module")
def wire() -> Iterator[NetworkLink]:
    """A network link to a network of its own."""
    if reason := why_not():
        pytest.skip(reason)
    with link() as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def pipeline(
    wire: NetworkLink, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[PipelineUnderTest]:
    """A pipeline with one instruct worker here and one at the other end of the network link."""
    with running_servers(tmp_path_factory.mktemp("cut")) as servers:
        there = await asyncio.to_thread(listen_at_link, wire, servers.kafka)
        pipeline = PipelineUnderTest(
            Backend(servers, tmp_path_factory.mktemp("plants")), f"{unique_name('c')}."
        )
        async with pipeline.running():
            await pipeline.start_other_stages()
            pipeline.start_workers("instruct", model=MODEL)
            terms = Terms(before=wire.inside)
            pipeline.start_workers("instruct", terms=terms, model=MODEL, kafka=there, redis="")
            await pipeline.ready()
            yield pipeline


async def test_a_worker_is_cut_off_for_a_while(
    pipeline: PipelineUnderTest, wire: NetworkLink
) -> None:
    """The others take over; it comes back by itself; what it did meanwhile harms nobody."""
    far = pipeline.of("instruct")[-1]
    async with pipeline.flow("cut", per_s=20):
        for seconds in CUTS_S:
            await pipeline.advance("instruct", 20)
            before = len(far.events("assigned"))
            wire.cut()
            try:
                await asyncio.sleep(seconds)
                await pipeline.advance("instruct", 20)
            finally:
                wire.mend()
            await returned(far, before)
    await pipeline.audit_when_settled(within_s=120)
    assert far.lives == 1


async def returned(worker: Worker, assignments: int) -> None:
    """Wait until the worker has got partitions more often than that."""
    await eventually(
        lambda: len(worker.events("assigned")) > assignments,
        BACK_WITHIN_S,
        f"{worker.name} is back",
    )
