"""Topics that lose messages, that are deleted, and clocks that are wrong, on Apache Kafka."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from aiokafka.admin import NewTopic

from promptmill.kafka.client import open_admin
from promptmill.kafka.cluster import describe_log
from promptmill.kafka.consumer import KafkaSource
from promptmill.kafka.sender import KafkaSender
from promptmill.kafka.topics import TopicSpec, check_differences, ensure_topics
from promptmill.runtime.errors import Misconfigured
from promptmill.stream.loop import StreamLoop
from support.kafka_topics import delete_topics, make_topics
from support.streams import ITEMS, QUICK, CountingProbe, echo
from support.waiting import eventually

pytestmark = pytest.mark.real


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("cleanup.policy", "compact"),
        ("retention.bytes", "1000000"),
        ("unclean.leader.election.enable", "true"),
    ],
)
async def test_a_topic_that_loses_messages_is_refused_and_mended(
    kafka: str, unique: str, setting: str, value: str
) -> None:
    own = {"retention.ms": "1234567", setting: value}
    async with open_admin(kafka) as client:
        await client.create_topics([NewTopic(unique, 1, 1, topic_configs=own)])
    with pytest.raises(Misconfigured, match=rf"{unique}: {setting}.*kafka-configs.*{setting}="):
        await describe_log(kafka, [unique])
    spec = TopicSpec(unique, 1, 1234567, 2_000)
    found = await ensure_topics(kafka, [spec])
    with pytest.raises(Misconfigured, match=rf"{setting} is {value}.*promptmill topics --mend"):
        check_differences(kafka, found)
    left = await ensure_topics(kafka, [spec], mend=True)
    assert [difference.setting for difference in left] == ["max.message.bytes"]
    assert await ensure_topics(kafka, [spec]) == left
    assert (await describe_log(kafka, [unique]))[1] == {unique: 1}


async def test_a_topic_that_does_not_exist_is_named(kafka: str, unique: str) -> None:
    with pytest.raises(Misconfigured, match=rf"no topic {unique}.*promptmill topics"):
        await describe_log(kafka, [unique])


async def test_a_topic_deleted_under_a_running_worker_ends_it(kafka: str, unique: str) -> None:
    topic = f"{unique}.{ITEMS.name}"
    await make_topics(kafka, [topic, f"{unique}.dead-letters"], 2)
    source = KafkaSource(kafka, unique, [topic], client_id="t", session_timeout_ms=6_000)
    loop = StreamLoop(
        source,
        KafkaSender(kafka, client_id="t", delivery_timeout_s=10.0),
        echo,
        stage="echo",
        topic=ITEMS,
        settings=replace(QUICK),
        probe=CountingProbe(),
        prefix=f"{unique}.",
    )
    running = asyncio.create_task(loop.run())
    await eventually(loop.joined.is_set)
    await delete_topics(kafka, [topic])
    with pytest.raises(Misconfigured, match=rf"no topic {topic}"):
        async with asyncio.timeout(90):
            await running


@pytest.fixture
def clock_off(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], Awaitable[None]]:
    """Lets this machine's wall clock be wrong by so many hours."""
    real = time.time

    async def move(hours: float) -> None:
        monkeypatch.setattr(
            "promptmill.kafka.acknowledgements.wall_clock", lambda: real() + hours * 3600
        )

    return move


@pytest.mark.parametrize(("hours", "is_wrong"), [(-2, True), (2, True), (0.5, False)])
async def test_a_clock_that_is_hours_off_is_an_error(
    kafka: str,
    unique: str,
    clock_off: Callable[[float], Awaitable[None]],
    hours: float,
    is_wrong: bool,
) -> None:
    await ensure_topics(kafka, [TopicSpec(unique, 1, 3_600_000, 2_000)])
    sender = KafkaSender(kafka, client_id="t", delivery_timeout_s=10.0)
    await sender.start()
    try:
        await clock_off(hours)
        if not is_wrong:
            await sender.send(unique, b"key", b"value")
            return
        with pytest.raises(Misconfigured, match=r"clock.*2\.0 h"):
            await sender.send(unique, b"key", b"value")
    finally:
        await sender.stop()
