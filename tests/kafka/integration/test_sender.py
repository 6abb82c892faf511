"""The producer on a real broker: when it is replaced, and how often a message is sent."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from aiokafka.admin import NewTopic

from promptmill.kafka.client import open_admin
from promptmill.kafka.producer import AbortableProducer
from promptmill.kafka.sender import KafkaSender
from promptmill.runtime.errors import Misconfigured, Poison, Transient, Unavailable
from support.kafka_topics import TopicReader, make_topics
from support.producing import (
    NOT_ENOUGH_REPLICAS,
    OUT_OF_ORDER,
    Answers,
    current,
    producer_tasks,
    senders_alive,
)
from support.waiting import eventually

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]


@pytest.fixture
async def topic(kafka: str, unique: str) -> str:
    await make_topics(kafka, [unique], 2)
    return unique


@pytest.fixture
async def sender(kafka: str) -> AsyncIterator[KafkaSender]:
    """Quick to report what is not acknowledged; a test ends without any task of it."""
    sender = KafkaSender(kafka, client_id="t", delivery_timeout_s=2.0)
    await sender.start()
    yield sender
    await sender.stop()
    assert producer_tasks() == []


async def publish(sender: KafkaSender, topic: str, value: bytes) -> None:
    """As the stages do: again, until it is acknowledged."""
    while True:
        try:
            return await sender.send(topic, value, value)
        except Transient:
            await asyncio.sleep(0.05)


async def copies(kafka: str, topic: str) -> Counter[bytes]:
    return Counter(bytes(d.value or b"") for d in await TopicReader(kafka, 2).read(topic))


def values(number: int) -> list[bytes]:
    return [b"message %d" % index for index in range(number)]


async def test_a_cluster_that_takes_nothing_keeps_its_one_producer(
    sender: KafkaSender, kafka: str, topic: str
) -> None:
    answers = Answers(current(sender))
    answers.error = NOT_ENOUGH_REPLICAS
    publishing = [asyncio.create_task(publish(sender, topic, value)) for value in values(8)]
    await eventually(lambda: sender.unacknowledged_s > 5)
    assert senders_alive() == 1
    assert sender.replaced == 0
    assert sender.unacknowledged == 8
    answers.error = None
    await asyncio.gather(*publishing)
    assert await copies(kafka, topic) == Counter(values(8))
    assert sender.unacknowledged_s == 0


async def test_a_broken_sequence_replaces_the_producer_and_ends_the_old_one(
    sender: KafkaSender, kafka: str, topic: str
) -> None:
    for _ in range(5):
        answers = Answers(current(sender))
        answers.error = OUT_OF_ORDER
        with pytest.raises(Unavailable, match="OutOfOrderSequenceNumber"):
            await sender.send(topic, b"k", b"lost")
        assert senders_alive() == 1
        assert answers.requests == 1
    assert sender.replaced == 5
    await sender.send(topic, b"k", b"found")
    assert await copies(kafka, topic) == Counter([b"found"])


async def test_all_that_waits_fails_once_with_the_producer(
    sender: KafkaSender, kafka: str, topic: str
) -> None:
    """Both partitions have queued messages; only one of them breaks the sequence."""
    answers = Answers(current(sender))
    answers.error = NOT_ENOUGH_REPLICAS
    sends = [asyncio.create_task(sender.send(topic, v, v)) for v in values(40)]
    await eventually(lambda: sender.unacknowledged == 40 and answers.requests > 3)
    answers.error = OUT_OF_ORDER
    outcomes = await asyncio.gather(*sends, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {Unavailable}
    assert sender.replaced == 1
    assert senders_alive() == 1
    assert await copies(kafka, topic) == Counter()


async def test_a_message_acknowledged_too_late_is_there_twice_at_most(
    sender: KafkaSender, kafka: str, topic: str
) -> None:
    """The answer that breaks the sequence comes after the append."""
    Answers(current(sender)).after_append = OUT_OF_ORDER
    await asyncio.gather(*(publish(sender, topic, value) for value in values(20)))
    found = await copies(kafka, topic)
    assert set(found) == set(values(20))
    assert max(found.values()) == 2
    assert sender.replaced == 1


async def test_a_cancelled_caller_leaves_the_message_to_the_producer(
    sender: KafkaSender, kafka: str, topic: str
) -> None:
    """What a leaving partition no longer waits for may arrive once, and never more often."""
    answers = Answers(current(sender))
    answers.error = NOT_ENOUGH_REPLICAS
    sending = asyncio.create_task(sender.send(topic, b"k", b"left"))
    await eventually(lambda: answers.requests > 2)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    answers.error = None
    await sender.send(topic, b"k", b"next")
    assert await copies(kafka, topic) == Counter([b"left", b"next"])
    assert sender.unacknowledged == 0


async def test_a_caller_cancelled_while_the_producer_is_replaced_leaves_no_zombie(
    sender: KafkaSender, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Answers(current(sender)).error = OUT_OF_ORDER
    make, may_go_on = sender._producers._new_producer, asyncio.Event()

    async def make_when_told() -> AbortableProducer:
        await may_go_on.wait()
        return await make()

    monkeypatch.setattr(sender._producers, "_new_producer", make_when_told)
    sending = asyncio.create_task(sender.send(topic, b"k", b"v"))
    await eventually(lambda: sender._producers.is_replacing)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    may_go_on.set()
    await sender.send(topic, b"k", b"v")
    assert senders_alive() == 1


async def test_stop_with_messages_that_nobody_takes_ends_within_its_limit(
    kafka: str, topic: str
) -> None:
    sender = KafkaSender(kafka, client_id="t", delivery_timeout_s=2.0)
    await sender.start()
    Answers(current(sender)).error = NOT_ENOUGH_REPLICAS
    sends = [asyncio.create_task(sender.send(topic, v, v)) for v in values(8)]
    await eventually(lambda: sender.unacknowledged == 8)
    async with asyncio.timeout(30):
        await sender.stop()
    outcomes = await asyncio.wait_for(asyncio.gather(*sends, return_exceptions=True), 30)
    assert producer_tasks() == []
    assert all(isinstance(outcome, Exception) for outcome in outcomes)


async def test_a_command_gives_up_and_the_producer_stays(kafka: str, topic: str) -> None:
    sender = KafkaSender(kafka, client_id="t", delivery_timeout_s=1.0, gives_up=True)
    await sender.start()
    Answers(current(sender)).error = NOT_ENOUGH_REPLICAS
    with pytest.raises(Unavailable, match=r"not acknowledged within 1 s.*in-sync replicas"):
        await sender.send(topic, b"k", b"v")
    assert sender.replaced == 0
    await sender.stop()
    assert producer_tasks() == []


async def test_a_topic_that_does_not_exist_is_named_with_its_remedy(sender: KafkaSender) -> None:
    with pytest.raises(Misconfigured, match=r"nowhere does not exist.*promptmill topics"):
        await sender.send("nowhere", b"k", b"v")
    assert sender.replaced == 0


async def test_a_topic_deleted_under_its_messages_is_named_with_its_remedy(
    sender: KafkaSender, kafka: str, topic: str
) -> None:
    answers = Answers(current(sender))
    answers.error = NOT_ENOUGH_REPLICAS
    sending = asyncio.create_task(sender.send(topic, b"k", b"v"))
    await eventually(lambda: answers.requests > 1)
    await delete(kafka, topic)
    answers.error = None
    with pytest.raises(Misconfigured, match="does not exist"):
        await asyncio.wait_for(sending, 60)


async def test_a_record_that_its_topic_does_not_allow_is_poison_and_its_neighbours_are_not(
    sender: KafkaSender, kafka: str, unique: str
) -> None:
    """A compacted topic refuses the whole batch for one record without a key."""
    await make_compacted(kafka, unique)
    answers = Answers(current(sender))
    answers.error = NOT_ENOUGH_REPLICAS
    good = [asyncio.create_task(publish(sender, unique, value)) for value in values(5)]
    bad = asyncio.create_task(sender.send(unique, None, b"without a key"))  # type: ignore[arg-type]
    await eventually(lambda: sender.unacknowledged == 6)
    answers.error = None
    with pytest.raises(Poison, match="INVALID_RECORD"):
        await bad
    await asyncio.gather(*good)
    found = Counter(bytes(d.value or b"") for d in await TopicReader(kafka, 1).read(unique))
    assert found == Counter(values(5))


async def test_a_message_larger_than_its_topic_takes_is_poison_and_its_neighbours_are_not(
    sender: KafkaSender, kafka: str, unique: str
) -> None:
    await make(kafka, unique, {"max.message.bytes": "2000"})
    large = random.Random(0).randbytes(10_240)  # does not shrink when it is compressed
    good = [asyncio.create_task(publish(sender, unique, value)) for value in values(5)]
    with pytest.raises(Poison, match=r"message of 10240 bytes .* max.message.bytes"):
        await sender.send(unique, b"k", large)
    await asyncio.gather(*good)
    found = Counter(bytes(d.value or b"") for d in await TopicReader(kafka, 1).read(unique))
    assert set(found) == set(values(5))


async def make_compacted(kafka: str, name: str) -> None:
    await make(kafka, name, {"cleanup.policy": "compact"})


async def make(kafka: str, name: str, settings: dict[str, str]) -> None:
    async with open_admin(kafka) as admin:
        await admin.create_topics([NewTopic(name, 1, 1, topic_configs=settings)])


async def delete(kafka: str, name: str) -> None:
    async with open_admin(kafka) as admin:
        await admin.delete_topics([name])
