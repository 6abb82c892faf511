"""Deliveries that skip offsets, on real logs: lost, dropped by the client, or never there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from promptmill.kafka.consumer import KafkaSource
from promptmill.runtime.errors import Unavailable
from promptmill.stream.lost_records import Gap, LostRecords
from promptmill.stream.ports import Partition
from support.chaos.loop_brokers import OnKafka, harness_on
from support.kafka_topics import delete_up_to
from support.streams import ITEMS, Harness, Item, Member
from support.waiting import eventually

pytestmark = pytest.mark.real

PATIENCE_S = 60


class Forgetful(KafkaSource):
    """Bounds fail as often as a test says, and records are dropped as a test says."""

    failures = 0
    asked = 0

    async def bounds(
        self, partitions: Collection[Partition]
    ) -> Mapping[Partition, tuple[int, int]]:
        self.asked += 1
        if self.failures:
            self.failures -= 1
            raise Unavailable("the leader is moving")
        return await super().bounds(partitions)

    async def hold(self, partition: Partition) -> None:
        """Pause, and return when no fetch is on its way, whose records would be kept."""
        self.pause([partition])
        await eventually(lambda: not self._consumer._fetcher._in_flight, PATIENCE_S)

    def drop_to(self, partition: Partition, offset: int) -> None:
        """As aiokafka does that loses what it has drained: its position has moved on."""
        self._consumer.seek(TopicPartition(*partition), offset)


class OnForgetfulKafka(OnKafka):
    """Members whose sources are :class:`Forgetful`."""

    def source(self, group: str, topic: str) -> Forgetful:
        name = f"{self.prefix}{group}"
        return Forgetful(self.bootstrap, name, [topic], client_id="t", session_timeout_ms=6_000)


@pytest.fixture
async def harness(kafka: str, unique: str) -> AsyncIterator[Harness]:
    """Topics of one partition."""
    async with harness_on(OnForgetfulKafka(kafka, f"{unique}.", partitions=1)) as harness:
        yield harness


def partition_of(harness: Harness) -> Partition:
    return Partition(harness.broker.prefix + ITEMS.name, 0)


def source_of(member: Member) -> Forgetful:
    assert isinstance(member.source, Forgetful)
    return member.source


async def publish(harness: Harness, first: int, end: int) -> None:
    for number in range(first, end):  # one by one: offsets are to be numbers
        await harness.publish(Item(number=number))


async def is_committed(harness: Harness, offset: int) -> bool:
    return await harness.committed() == offset


async def running(harness: Harness) -> Member:
    """A member that has done offsets 0 to 4 and is paused before 5 to 14."""
    await publish(harness, 0, 5)
    member = await harness.member()
    await eventually(lambda: is_committed(harness, 5), PATIENCE_S)
    await source_of(member).hold(partition_of(harness))
    await publish(harness, 5, 15)
    return member


async def delete(harness: Harness, first: int) -> None:
    assert isinstance(harness.broker, OnKafka)
    await delete_up_to(harness.broker.bootstrap, partition_of(harness), first)


@pytest.mark.parametrize("failures", [0, 3])
async def test_retention_that_overtakes_a_member_ends_it_and_commits_nothing_beyond(
    harness: Harness, failures: int
) -> None:
    member = await running(harness)
    await delete(harness, 10)
    source_of(member).failures = failures
    member.source.resume([partition_of(harness)])
    with pytest.raises(LostRecords, match="offsets 5 to 9"):
        await asyncio.wait_for(member.task, PATIENCE_S)
    assert await harness.committed() == 5
    assert sorted(await harness.echoes()) == list(range(5))
    again = await harness.member()
    with pytest.raises(LostRecords, match="offsets 5 to 9"):
        await asyncio.wait_for(again.task, PATIENCE_S)


async def test_a_group_without_a_commit_ends_until_the_loss_is_accepted(harness: Harness) -> None:
    await publish(harness, 0, 6)
    await delete(harness, 3)
    member = await harness.member()
    with pytest.raises(LostRecords, match="offsets 0 to 2"):
        await asyncio.wait_for(member.task, PATIENCE_S)

    async def accepted() -> Collection[Gap]:
        return [Gap(partition_of(harness), 0, 2)]

    await harness.member(accepted=accepted)
    await eventually(lambda: is_committed(harness, 6), PATIENCE_S)
    assert sorted(await harness.echoes()) == [3, 4, 5]


@pytest.mark.parametrize("failures", [0, 3])
async def test_what_the_client_drops_is_delivered_again(harness: Harness, failures: int) -> None:
    member = await running(harness)
    source = source_of(member)
    source.failures = failures
    source.drop_to(partition_of(harness), 10)
    member.source.resume([partition_of(harness)])
    await eventually(lambda: is_committed(harness, 15), PATIENCE_S)
    assert sorted(await harness.echoes()) == list(range(15))
    assert member.probe.retries["unavailable"] == failures


async def test_a_rebalance_while_the_bounds_are_unknown_begins_at_the_committed_offset(
    harness: Harness,
) -> None:
    first = await running(harness)
    source = source_of(first)
    source.failures = 10**9
    source.drop_to(partition_of(harness), 10)
    first.source.resume([partition_of(harness)])
    await eventually(lambda: source.failures < 10**9, PATIENCE_S)
    second = await harness.member()
    await eventually(second.loop.joined.is_set, PATIENCE_S)
    assert sorted(await harness.echoes()) == list(range(5)) or second.loop.assigned
    source.failures = 0
    await eventually(lambda: is_committed(harness, 15), PATIENCE_S)
    assert sorted(await harness.echoes()) == list(range(15))


async def test_markers_of_transactions_are_passed(
    harness: Harness, kafka: str, unique: str
) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=unique)
    await producer.start()
    try:
        for number in range(3):
            async with producer.transaction():
                value = Item(number=number).model_dump_json().encode()
                await producer.send_and_wait(partition_of(harness).topic, value, b"k")
    finally:
        await producer.stop()
    await publish(harness, 3, 4)
    await harness.member()
    await eventually(lambda: is_committed(harness, 7), PATIENCE_S)
    assert sorted(await harness.echoes()) == [0, 1, 2, 3]
