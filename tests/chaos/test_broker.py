"""Rows 13 and 14: the only broker is bounced, or is silent for longer than a request may take."""

from __future__ import annotations

import asyncio

import pytest

from promptmill.kafka.sender import KafkaSender
from promptmill.runtime.errors import Unavailable
from support.chaos.backend import Backend
from support.chaos.pipeline import PipelineUnderTest
from support.chaos.topic_log import RECORDS
from support.kafka_topics import TopicReader, make_topics
from support.producing import producer_tasks, senders_alive
from support.stack import unique_name
from support.waiting import eventually

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.chaos,
    pytest.mark.real,
    pytest.mark.timeout(240),
]

RECOVERED_WITHIN_S = 60


@pytest.mark.parametrize("how", ["hard", "clean"])
async def test_13_broker_bounced(pipeline: PipelineUnderTest, how: str) -> None:
    cluster = pipeline.backend.servers.kafka
    pipeline.start_workers("instruct", 2, model="latency_s=0.05,sigma=1.0,tokens=20")
    await pipeline.ready()
    async with pipeline.flow(f"row-13-{how}", per_s=30):
        await pipeline.advance("instruct", 20)
        if how == "hard":
            await asyncio.to_thread(cluster.kill, 1)
        await asyncio.to_thread(cluster.restart, 1)
        for stage in ("instruct", "reward", "filter"):
            await pipeline.advance(stage, 5, within_s=RECOVERED_WITHIN_S)
    await pipeline.audit_when_settled(within_s=120)


async def test_14_a_broker_silent_for_longer_than_a_request_may_take(backend: Backend) -> None:
    """The same producer goes on, the caller waits, and the message is there once."""
    cluster = backend.servers.kafka
    pipeline = PipelineUnderTest(backend, "row-14.")
    async with pipeline.running():
        sender = KafkaSender(backend.kafka, client_id="chaos", delivery_timeout_s=2.0)
        await sender.start()
        await sender.send(pipeline.prefix + RECORDS, b"k", b"before")
        await asyncio.to_thread(cluster.pause, 1)
        sending = asyncio.create_task(sender.send(pipeline.prefix + RECORDS, b"k", b"during"))
        await eventually(lambda: sender.unacknowledged_s > 6)
        await asyncio.to_thread(cluster.resume, 1)
        await asyncio.wait_for(sending, 60)
        assert sender.replaced == 0
        assert senders_alive() == 1
        await sender.stop()
        log = await TopicReader(backend.kafka, 1).read(pipeline.prefix + RECORDS)
        assert [d.value for d in log] == [b"before", b"during"]


async def test_stop_beside_a_frozen_broker_ends_within_its_limit(backend: Backend) -> None:
    cluster, topic = backend.servers.kafka, unique_name()
    await make_topics(backend.kafka, [topic], 1)
    others = producer_tasks()
    sender = KafkaSender(backend.kafka, client_id="chaos", delivery_timeout_s=4.0)
    await sender.start()
    await asyncio.to_thread(cluster.pause, 1)
    sending = asyncio.create_task(sender.send(topic, b"k", b"during"))
    try:
        await eventually(lambda: sender.unacknowledged_s > 1)
        await asyncio.wait_for(sender.stop(), 30)
    finally:
        await asyncio.to_thread(cluster.resume, 1)
    assert producer_tasks() == others
    with pytest.raises(Unavailable, match="stopped"):
        await sending
