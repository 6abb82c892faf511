from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from promptmill.devstack.ports import free_port
from promptmill.kafka.topics import TopicDifference, TopicSpec, ensure_topics
from promptmill.runtime.errors import Misconfigured, Transient

pytestmark = pytest.mark.real


@pytest.fixture
def spec(unique: str) -> TopicSpec:
    return TopicSpec(unique, partitions=3, retention_ms=3_600_000, max_message_bytes=2_000)


async def test_a_new_topic_can_be_written_at_once_within_its_limit(
    kafka: str, spec: TopicSpec
) -> None:
    assert await ensure_topics(kafka, [spec]) == []
    async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all") as producer:
        assert await producer.partitions_for(spec.name) == {0, 1, 2}
        await producer.send_and_wait(spec.name, b"x" * 1_500, partition=2)
        with pytest.raises(MessageSizeTooLargeError):
            await producer.send_and_wait(spec.name, b"x" * 3_000, partition=2)


async def test_the_same_topics_again_change_and_report_nothing(kafka: str, spec: TopicSpec) -> None:
    both = [spec, replace(spec, name=spec.name + "-forever", retention_ms=-1)]
    assert await ensure_topics(kafka, both) == []
    assert await ensure_topics(kafka, both) == []


async def test_other_settings_of_an_existing_topic_are_reported_and_not_altered(
    kafka: str, spec: TopicSpec
) -> None:
    await ensure_topics(kafka, [spec])
    other = replace(spec, partitions=6, retention_ms=-1, max_message_bytes=9_000)
    expected = [
        TopicDifference(spec.name, "partitions", "3", "6"),
        TopicDifference(spec.name, "retention.ms", "3600000", "-1"),
        TopicDifference(spec.name, "max.message.bytes", "2000", "9000"),
    ]
    assert await ensure_topics(kafka, [other, replace(other, name=spec.name + "-new")]) == expected
    assert await ensure_topics(kafka, [other]) == expected
    assert str(expected[0]) == f"topic {spec.name}: partitions is 3, but should be 6"


async def test_two_processes_may_create_the_same_topics(kafka: str, spec: TopicSpec) -> None:
    results = await asyncio.gather(*(ensure_topics(kafka, [spec]) for _ in range(4)))
    assert results == [[]] * 4


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"replication": 3}, "only 1 broker"), ({"name": "a b"}, "illegal|invalid")],
)
async def test_what_the_cluster_refuses_is_explained(
    kafka: str, spec: TopicSpec, change: dict[str, int], reason: str
) -> None:
    with pytest.raises(Misconfigured, match=reason):
        await ensure_topics(kafka, [replace(spec, **change)])  # type: ignore[arg-type]


async def test_a_cluster_that_is_not_there_is_a_transient_error(spec: TopicSpec) -> None:
    with pytest.raises(Transient, match=r"promptmill up.*PROMPTMILL_KAFKA"):
        await ensure_topics(f"127.0.0.1:{free_port()}", [spec])
