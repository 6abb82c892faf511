"""Topics are read as logs: from given offsets to their end, without joining any group."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from promptmill.kafka.log_reader import LogReader
from promptmill.kafka.sender import KafkaSender
from promptmill.runtime.errors import Misconfigured, Unavailable
from promptmill.stream.ports import Delivery, Partition
from support.kafka_topics import make_topics

pytestmark = pytest.mark.real
PARTITIONS = 3


@pytest.fixture
async def topic(kafka: str, unique: str) -> str:
    """A topic of three partitions."""
    await make_topics(kafka, [unique], PARTITIONS)
    return unique


@pytest.fixture
async def reader(kafka: str) -> AsyncIterator[LogReader]:
    async with LogReader(kafka, client_id="test") as started:
        yield started


async def send(kafka: str, topic: str, *values: str) -> None:
    sender = KafkaSender(kafka, client_id="test")
    await sender.start()
    for value in values:
        await sender.send(topic, value.encode(), value.encode())
    await sender.stop()


async def everything(
    reader: LogReader, topic: str, starts: dict[int, int] | None = None
) -> list[Delivery]:
    return [d async for batch in reader.read(topic, starts or {}) for d in batch]


async def test_a_log_is_read_to_where_it_ends(kafka: str, topic: str, reader: LogReader) -> None:
    assert await everything(reader, topic) == []
    values = [str(number) for number in range(500)]
    await send(kafka, topic, *values)
    found = await everything(reader, topic)
    assert sorted(d.value or b"" for d in found) == sorted(v.encode() for v in values)
    assert {d.partition.number for d in found} == set(range(PARTITIONS))
    for number in range(PARTITIONS):
        offsets = [d.offset for d in found if d.partition.number == number]
        assert offsets == list(range(len(offsets)))


async def test_a_log_is_read_on_from_where_one_was(
    kafka: str, topic: str, reader: LogReader
) -> None:
    await send(kafka, topic, *"abcdefgh")
    first = await everything(reader, topic)
    starts = {d.partition.number: d.offset + 1 for d in first}
    assert await everything(reader, topic, starts) == []
    await send(kafka, topic, "more")
    assert [d.value for d in await everything(reader, topic, starts)] == [b"more"]


async def test_a_start_beyond_the_end_of_the_log_is_an_error(topic: str, reader: LogReader) -> None:
    with pytest.raises(Misconfigured, match="stored up to offset 7, but its log holds 0 to 0"):
        await everything(reader, topic, {1: 7})


async def test_a_topic_that_does_not_exist_is_named(reader: LogReader, unique: str) -> None:
    with pytest.raises(Misconfigured, match=unique):
        await reader.partitions([unique])


async def test_following_gives_what_comes(kafka: str, topic: str, reader: LogReader) -> None:
    await send(kafka, topic, "before")
    bounds = await reader.bounds(await reader.partitions([topic]))
    batches = reader.follow({partition: end for partition, (_, end) in bounds.items()})
    await send(kafka, topic, "after")
    found: list[Delivery] = []
    while not found:
        found = await anext(batches)
    assert [d.value for d in found] == [b"after"]


async def test_lag_is_what_a_group_has_not_committed(
    kafka: str, topic: str, reader: LogReader
) -> None:
    await send(kafka, topic, *"abcdefgh")
    group = f"{topic}-group"
    assert await reader.lags({group: [topic]}) == {group: 8}
    bounds = await reader.bounds(await reader.partitions([topic]))
    partition, (_, end) = max(bounds.items(), key=lambda item: item[1][1])
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, group_id=group, enable_auto_commit=False)
    await consumer.start()
    consumer.assign([TopicPartition(*partition)])
    await consumer.commit({TopicPartition(*partition): end})
    await consumer.stop()
    assert await reader.committed(group, [partition]) == {partition: end}
    assert await reader.lags({group: [topic], "nobody": [topic]}) == {group: 8 - end, "nobody": 8}


async def test_a_broker_that_is_away_is_named_with_a_remedy() -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1 does not answer.*promptmill up"):
        async with LogReader("127.0.0.1:1", client_id="test"):
            raise AssertionError(Partition)
