"""Workers that join and leave in an orderly way, while records flow."""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import replace
from itertools import count, pairwise

import pytest

from promptmill.stream.outcome import Outcome
from support.chaos.backend import Backend
from support.chaos.loop_brokers import OnKafka
from support.chaos.pipeline import PipelineUnderTest
from support.chaos.topic_log import COMPLETIONS, SCORED
from support.kafka_topics import make_topics
from support.stack import unique_name
from support.streams import ECHOES, ITEMS, QUICK, Harness, Item, echo
from support.waiting import eventually

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.chaos,
    pytest.mark.real,
    pytest.mark.timeout(240),
]

MEMBERS = 12
LONGEST_STOP_S = 5.0
BACK_WITHIN_S = 15
"""A process takes 2 s to start again, and several times that beside others."""
STAGES = ("instruct", "reward", "filter", "store")


async def test_every_kind_of_worker_is_scaled_up_and_down_without_redoing_anything(
    pipeline: PipelineUnderTest,
) -> None:
    pipeline.start_workers("instruct")
    await pipeline.ready()
    async with pipeline.flow("scale", per_s=30):
        await pipeline.advance("filter", 20)
        extra_workers = [
            extra_worker for stage in STAGES for extra_worker in pipeline.start_workers(stage)
        ]
        await pipeline.ready()
        await pipeline.advance("filter", 40)
        codes = await asyncio.gather(
            *(extra_worker.stop(signal.SIGTERM) for extra_worker in extra_workers)
        )
        await pipeline.advance("filter", 40)
    assert codes == [0] * len(STAGES)
    audit = await pipeline.audit_when_settled()
    assert audit.redone == {COMPLETIONS: 0, SCORED: 0}


async def test_a_static_member_gets_its_partitions_back_without_a_rebalance(
    pipeline: PipelineUnderTest,
) -> None:
    (fixed,) = pipeline.start_workers(
        "instruct", instance_id="fixed", session_timeout_s=BACK_WITHIN_S
    )
    (other,) = pipeline.start_workers(
        "instruct", instance_id="other", session_timeout_s=BACK_WITHIN_S
    )
    await pipeline.ready()
    async with pipeline.flow("static", per_s=30):
        await pipeline.advance("instruct", 20)
        rebalances = len(other.events("revoked"))
        fixed.kill()
        await fixed.ended()
        await fixed.ready()
        await pipeline.advance("instruct", 40)
        assert len(other.events("revoked")) == rebalances
    await pipeline.audit_when_settled()


async def test_a_rebalance_of_twelve_members_stops_the_flow_for_at_most_five_seconds(
    backend: Backend,
) -> None:
    prefix = f"{unique_name('c')}."
    names = [prefix + topic for topic in (ITEMS.name, ECHOES.name, "dead-letters")]
    await make_topics(backend.kafka, names, 2 * MEMBERS)
    harness = Harness(OnKafka(backend.kafka, prefix, 2 * MEMBERS))
    settled: list[float] = []

    async def work(item: Item) -> Outcome:
        await asyncio.sleep(0.05)
        settled.append(time.monotonic())
        return await echo(item)

    members = [await harness.member(work, replace(QUICK, grace_s=10)) for _ in range(MEMBERS)]
    await eventually(lambda: [len(m.loop.assigned) for m in members] == [2] * MEMBERS)
    flowing = asyncio.create_task(flow(harness))
    await eventually(lambda: len(settled) > 100)
    begin = len(settled)
    newcomer = await harness.member(work)
    await eventually(lambda: len(newcomer.loop.assigned) > 0)
    await eventually(lambda: len(settled) > begin + 200)
    await members[0].stop()
    await eventually(lambda: len(settled) > begin + 400)
    flowing.cancel()
    await harness.close()
    longest = max(later - earlier for earlier, later in pairwise(settled[begin:]))
    assert longest <= LONGEST_STOP_S


async def flow(harness: Harness) -> None:
    """Items without end, 50 in a second."""
    sender = harness.broker.sender()
    await sender.start()
    try:
        for number in count():
            value = Item(number=number).model_dump_json().encode()
            await sender.send(harness.broker.prefix + ITEMS.name, str(number).encode(), value)
            await asyncio.sleep(0.02)
    finally:
        await sender.stop()
