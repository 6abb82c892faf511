"""Polls that fail, on a real broker: repeated and counted, or the end of the process."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.errors import (
    CorruptRecordException,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    UnsupportedCodecError,
)

from promptmill.devstack.stack import StackInfo
from promptmill.kafka.consumer import KafkaSource
from promptmill.kafka.header_names import TolerantRecords
from promptmill.kafka.polling import PolledConsumer, PollGuard
from promptmill.runtime.errors import Fatal, Misconfigured
from support.chaos.loop_brokers import OnKafka, harness_on
from support.kafka_topics import make_topics
from support.streams import ITEMS, Harness, Item, Member
from support.waiting import eventually

pytestmark = pytest.mark.real

PATIENCE_S = 60


@dataclass
class Polls:
    """A probe that counts."""

    failures: Counter[str] = field(default_factory=Counter)

    def poll_failed(self, reason: str) -> None:
        self.failures[reason] += 1


class OnProbedKafka(OnKafka):
    """Members whose polls are counted."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        super().__init__(bootstrap, prefix)
        self.polls = Polls()

    def source(self, group: str, topic: str) -> KafkaSource:
        return KafkaSource(
            self.bootstrap,
            f"{self.prefix}{group}",
            [topic],
            client_id="t",
            session_timeout_ms=6_000,
            probe=self.polls,
        )


@pytest.fixture
async def harness(kafka: str, unique: str) -> AsyncIterator[Harness]:
    async with harness_on(OnProbedKafka(kafka, f"{unique}.")) as harness:
        yield harness


def polls_of(harness: Harness) -> Counter[str]:
    assert isinstance(harness.broker, OnProbedKafka)
    return harness.broker.polls.failures


def source_of(member: Member) -> KafkaSource:
    assert isinstance(member.source, KafkaSource)
    return member.source


async def joined(harness: Harness) -> Member:
    member = await harness.member()
    await eventually(member.loop.joined.is_set, PATIENCE_S)
    return member


def fail_polls(member: Member, error: Exception, times: int = 10**9) -> None:
    """The client's own fetch raises this, as it does when a response or the group is bad."""
    fetcher = source_of(member)._consumer._fetcher
    fetch: Callable[..., Awaitable[Any]] = fetcher.fetched_records
    left = times

    async def failing(*args: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if left >= 0:
            raise error
        return await fetch(*args, **options)

    fetcher.fetched_records = failing


async def test_retriable_errors_are_repeated_and_counted(harness: Harness) -> None:
    member = await joined(harness)
    fail_polls(member, KafkaConnectionError("the broker closed the connection"), times=4)
    await harness.publish(*(Item(number=number) for number in range(20)))

    async def all_done() -> bool:
        return await harness.committed() == 20

    await eventually(all_done, PATIENCE_S)
    # A fetch that was under way before may have brought all of them between two failures.
    await eventually(lambda: polls_of(harness).total() == 4, PATIENCE_S)
    assert sorted(await harness.echoes()) == list(range(20))
    assert polls_of(harness) == {"kafka_connection_error": 4}


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (TopicAuthorizationFailedError("items"), Misconfigured, "allow this worker's user to read"),
        (GroupAuthorizationFailedError("g"), Misconfigured, "with the group"),
        (UnsupportedCodecError("snappy"), Misconfigured, "install aiokafka with that codec"),
        (KafkaError("Unexpected error during coordination"), Fatal, "a poll of Kafka failed"),
        (ValueError("a bug in the client"), Fatal, "a bug in the client"),
    ],
)
async def test_other_errors_end_the_member_at_once_with_a_remedy(
    harness: Harness, error: Exception, kind: type[Fatal], said: str
) -> None:
    member = await joined(harness)
    fail_polls(member, error)
    with pytest.raises(kind, match=said) as caught:
        await asyncio.wait_for(member.task, PATIENCE_S)
    assert type(caught.value) is kind
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (CorruptRecordException("Invalid CRC - items-0"), "restore the partition"),
        (UnknownTopicOrPartitionError("items"), "create the topic with `promptmill topics`"),
    ],
)
async def test_errors_that_may_pass_end_the_member_when_they_last(
    harness: Harness, error: Exception, said: str
) -> None:
    member = await joined(harness)
    source_of(member)._guard._patience = 1 / 120  # half a second
    fail_polls(member, error)
    with pytest.raises(Misconfigured, match=said):
        await asyncio.wait_for(member.task, PATIENCE_S)
    assert sum(polls_of(harness).values()) > 1


async def test_a_log_that_its_broker_cannot_read_ends_the_member(
    harness: Harness, stack: StackInfo
) -> None:
    """The broker answers the fetch, with an error for the partition, which the client ignores."""
    await harness.publish(*(Item(number=number) for number in range(20)))
    member = await joined(harness)

    async def all_done() -> bool:
        return await harness.committed() == 20

    await eventually(all_done, PATIENCE_S)
    await member.stop()
    await harness.publish(*(Item(number=number) for number in range(20)))
    topic = harness.broker.prefix + ITEMS.name
    for log in stack.home.glob(f"kafka/broker-1/data/{topic}-?/00000000000000000000.log"):
        with log.open("r+b") as file:
            file.write(bytes(100))  # the broker looks for a position from the beginning
    again = await joined(harness)
    source_of(again)._guard._patience = 1 / 120  # half a second
    with pytest.raises(Misconfigured, match=rf"{topic}-.*restore the partition"):
        await asyncio.wait_for(again.task, PATIENCE_S)
    assert polls_of(harness)["corrupt_record_exception"] > 1


@pytest.mark.parametrize(
    ("code", "reason"), [(56, "kafka_storage_error"), (-1, "partition_unreadable")]
)
async def test_other_errors_of_a_partition_in_an_answer_are_counted(
    harness: Harness, code: int, reason: str
) -> None:
    member = await joined(harness)
    answer = SimpleNamespace(topics=[(harness.broker.prefix + ITEMS.name, [(0, code, -1)])])
    source_of(member)._consumer._keep_errors(answer)
    await eventually(lambda: polls_of(harness).total() > 0, PATIENCE_S)
    assert polls_of(harness) == {reason: 1}
    assert not member.task.done()


async def test_a_fetcher_that_dies_ends_the_member(harness: Harness) -> None:
    """The client logs it and polls on, for nothing."""
    member = await joined(harness)

    def fail(_assignment: object) -> None:
        raise RuntimeError("a bug in the fetcher")

    source_of(member)._consumer._fetcher._get_actions_per_node = fail
    await harness.publish(Item(number=1))
    with pytest.raises(Fatal, match="Unexpected error during data retrieval"):
        await asyncio.wait_for(member.task, PATIENCE_S)


async def test_a_poll_task_that_is_cancelled_ends_the_member(harness: Harness) -> None:
    member = await joined(harness)
    (task,) = source_of(member)._subscriber.tasks
    task.cancel()
    with pytest.raises(Fatal, match="the poll loop ended"):
        await asyncio.wait_for(member.task, PATIENCE_S)


@pytest.fixture
async def consumer(kafka: str, unique: str) -> AsyncIterator[PolledConsumer]:
    """A consumer of a topic of two partitions with 400 records each."""
    await make_topics(kafka, [unique], 2)
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    for number in range(400):
        for partition in (0, 1):
            await producer.send(unique, b"%d" % number, partition=partition)
    await producer.stop()
    guard = PollGuard(None, lambda error: pytest.fail(str(error)))
    made = PolledConsumer(guard, bootstrap_servers=kafka, auto_offset_reset="earliest")
    await made.start()
    made.assign([TopicPartition(unique, 0), TopicPartition(unique, 1)])
    for partition in made.assignment():
        made.seek(partition, 0)  # as the loops do at every assignment
    yield made
    await made.stop()


async def test_no_record_of_a_sound_partition_is_dropped_when_another_one_fails(
    consumer: PolledConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka has moved the position of the sound one on when the other one raises."""
    unpack, bad = PartitionRecords._unpack_records, iter(range(6))

    def failing(records: PartitionRecords) -> Iterator[Any]:
        if records._tp.partition == 1 and next(bad, None) is not None:
            raise CorruptRecordException("Invalid CRC")
        yield from unpack(records)

    monkeypatch.setattr(PartitionRecords, "_unpack_records", failing)
    found: dict[int, list[int]] = {0: [], 1: []}

    async def all_found() -> bool:
        for partition, records in (await consumer.getmany(timeout_ms=50)).items():
            found[partition.partition] += [record.offset for record in records]
        return sum(map(len, found.values())) >= 800

    await eventually(all_found, PATIENCE_S)
    assert found == {0: list(range(400)), 1: list(range(400))}


async def test_what_was_fetched_is_not_fetched_again_after_a_pause(
    consumer: PolledConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetches: list[int] = []

    class Counted(TolerantRecords):
        def __init__(self, raw: bytes) -> None:
            super().__init__(raw)
            if raw:
                fetches.append(len(raw))

    monkeypatch.setattr(fetcher, "MemoryRecords", Counted)
    found: dict[int, list[int]] = {0: [], 1: []}

    async def all_found() -> bool:
        for partition, records in (await consumer.getmany(timeout_ms=50, max_records=10)).items():
            found[partition.partition] += [record.offset for record in records]
        consumer.pause(*consumer.assignment())
        assert await consumer.getmany(max_records=10) == {}
        consumer.resume(*consumer.assignment())
        return sum(map(len, found.values())) >= 800

    await eventually(all_found, PATIENCE_S)
    assert found == {0: list(range(400)), 1: list(range(400))}
    assert len(fetches) < 10, "one or two of each partition, and not one for each of 80 pauses"
