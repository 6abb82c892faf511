"""Batches on a real broker: all of their messages are there, once and in order, or none."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from promptmill.kafka.batch_sender import KafkaBatchSender
from promptmill.runtime.errors import Misconfigured, Poison, Unavailable
from promptmill.stream.ports import Delivery, Message
from promptmill_schemas.headers import TRACEPARENT
from support.kafka_topics import TopicReader, make_topics
from support.producing import OUT_OF_ORDER, Answers, current, producer_tasks

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]
PARTITIONS = 3


@pytest.fixture
async def sender(kafka: str) -> AsyncIterator[KafkaBatchSender]:
    sender = KafkaBatchSender(kafka, client_id="t", delivery_timeout_s=5.0)
    await sender.start()
    yield sender
    await sender.stop()
    assert producer_tasks() == []


async def read(kafka: str, topic: str) -> list[Delivery]:
    return await TopicReader(kafka, PARTITIONS).read(topic)


def messages(number: int) -> list[Message]:
    return [
        Message(b"key %d" % index, b"value %d" % index, ((TRACEPARENT, b"%d" % index),))
        for index in range(number)
    ]


async def test_a_batch_is_on_its_partition_once_and_in_order(
    kafka: str, unique: str, sender: KafkaBatchSender
) -> None:
    await make_topics(kafka, [unique], PARTITIONS)
    await asyncio.gather(*(sender.send_batch(unique, 1, [one]) for one in messages(20)))
    await sender.send_batch(unique, 2, messages(500))
    found = await read(kafka, unique)
    batch = [(d.key, d.value, d.headers) for d in found if d.partition.number == 2]
    assert batch == messages(500)
    alone = sorted((d.key or b"", d.value, d.headers) for d in found if d.partition.number == 1)
    assert alone == sorted(messages(20))
    assert sender.unacknowledged == 0


async def test_keys_belong_where_single_messages_of_them_go(
    kafka: str, unique: str, sender: KafkaBatchSender
) -> None:
    await make_topics(kafka, [unique], PARTITIONS)
    choose = await sender.partitioner(unique)
    for message in messages(30):
        await sender.send(unique, *message)
    found = await read(kafka, unique)
    assert all(choose(bytes(d.key or b"")) == d.partition.number for d in found)
    assert len({d.partition.number for d in found}) == PARTITIONS


async def test_a_topic_that_does_not_exist_has_no_partitions(
    unique: str, sender: KafkaBatchSender
) -> None:
    with pytest.raises((Misconfigured, Unavailable)):
        await sender.partitioner(unique)


async def test_of_a_refused_batch_nothing_is_on_the_topic(
    kafka: str, unique: str, sender: KafkaBatchSender
) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    limit = {"max.message.bytes": "10000"}
    await admin.create_topics([NewTopic(unique, PARTITIONS, 1, topic_configs=limit)])
    await admin.close()
    large = Message(b"large", os.urandom(20_000))
    with pytest.raises(Poison):
        await sender.send_batch(unique, 0, [*messages(5), large])
    assert await read(kafka, unique) == []
    await sender.send_batch(unique, 0, messages(5))
    assert len(await read(kafka, unique)) == 5


async def test_more_than_one_batch_holds_is_refused_before_anything_is_sent(
    kafka: str, unique: str, sender: KafkaBatchSender
) -> None:
    await make_topics(kafka, [unique], PARTITIONS)
    many = [Message(b"key", b"x" * 100_000)] * 5
    with pytest.raises(Poison, match="more than fits"):
        await sender.send_batch(unique, 0, many)
    assert await read(kafka, unique) == []


async def test_a_producer_that_fails_is_replaced_and_the_caller_sends_again(
    kafka: str, unique: str, sender: KafkaBatchSender
) -> None:
    await make_topics(kafka, [unique], PARTITIONS)
    await sender.send_batch(unique, 0, messages(1))
    first = current(sender)
    Answers(first).error = OUT_OF_ORDER
    with pytest.raises(Unavailable):
        await sender.send_batch(unique, 0, messages(2))
    await sender.send_batch(unique, 0, messages(2))
    assert current(sender) is not first
    assert len(await read(kafka, unique)) == 3
