"""A stream loop whose deliveries skip offsets: nothing beyond them is begun or committed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping

import pytest

from promptmill.runtime.errors import Unavailable
from promptmill.stream.lost_records import Gap, LostRecords
from promptmill.stream.outcome import Outcome
from promptmill.stream.ports import Partition, Position
from promptmill.testing.broker import MemoryBroker, MemorySource
from support.chaos.loop_brokers import InMemory
from support.streams import QUICK, Harness, Item, Member, done_in, echo, record_commits
from support.waiting import eventually

PART = Partition("items", 0)


class Skipping(MemorySource):
    """One partition whose client can drop records, and whose bounds can stay unknown."""

    failures = 0
    asked = 0

    async def bounds(
        self, partitions: Collection[Partition]
    ) -> Mapping[Partition, tuple[int, int]]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise Unavailable("the leader is moving")
        return await super().bounds(partitions)

    def drop_to(self, offset: int) -> None:
        """As a client does that loses what it has drained: the position moves on."""
        self.owned[PART] = offset
        self.wake()


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    harness = Harness(InMemory(1, Skipping))
    yield harness
    await harness.close()


def broker_of(harness: Harness) -> MemoryBroker:
    assert isinstance(harness.broker, InMemory)
    return harness.broker.broker


def source_of(member: Member) -> Skipping:
    assert isinstance(member.source, Skipping)
    return member.source


async def publish(harness: Harness, first: int, end: int) -> None:
    await harness.publish(*(Item(number=number) for number in range(first, end)))


async def is_committed(harness: Harness, offset: int) -> bool:
    return await harness.committed() == offset


async def running(harness: Harness, done: int = 5) -> Member:
    """A member that has done the first five items and is paused, so that a test can interfere."""
    await publish(harness, 0, done)
    member = await harness.member()
    await eventually(lambda: is_committed(harness, done))
    source_of(member).paused.add(PART)
    return member


def delete_up_to(harness: Harness, first: int) -> None:
    log = broker_of(harness).logs[PART]
    del log.records[: first - log.first]
    log.first = first


@pytest.mark.parametrize("failures", [0, 1, 7])
async def test_retention_that_overtakes_a_member_ends_it_and_commits_nothing_beyond(
    harness: Harness, failures: int
) -> None:
    member = await running(harness)
    await publish(harness, 5, 15)
    delete_up_to(harness, 10)
    source_of(member).failures = failures
    member.source.resume([PART])
    with pytest.raises(LostRecords, match="items-0: offsets 5 to 9"):
        await asyncio.wait_for(member.task, 60)
    assert await harness.committed() == 5
    assert sorted(await harness.echoes()) == list(range(5)), "nothing beyond the gap was begun"


async def test_a_member_that_starts_on_a_log_that_begins_beyond_its_position_ends(
    harness: Harness,
) -> None:
    member = await running(harness)
    await member.stop()
    await publish(harness, 5, 15)
    delete_up_to(harness, 10)
    again = await harness.member()
    with pytest.raises(LostRecords, match="items-0: offsets 5 to 9"):
        await asyncio.wait_for(again.task, 60)


async def test_a_group_without_a_commit_on_a_log_that_no_longer_begins_at_0_ends(
    harness: Harness,
) -> None:
    await publish(harness, 0, 5)
    delete_up_to(harness, 3)
    member = await harness.member()
    with pytest.raises(LostRecords, match="items-0: offsets 0 to 2") as caught:
        await asyncio.wait_for(member.task, 60)
    assert caught.value.exit_code == 78
    assert await harness.echoes() == []


async def test_an_accepted_gap_is_passed_and_what_is_done_beyond_it_is_not_done_again(
    harness: Harness,
) -> None:
    """The map of the last commit still holds, although the reading goes on beyond its base."""
    stuck = asyncio.Event()

    async def work(item: Item) -> Outcome:
        if item.number == 1:
            await stuck.wait()
        return await echo(item)

    await publish(harness, 0, 8)
    member = await harness.member(work)
    positions = record_commits(member)
    await eventually(lambda: done_in(positions) == 7)
    assert await is_committed(harness, 1)
    assert broker_of(harness).offsets["workers"][PART].metadata
    assert member.probe.outcomes["emit"] == 7
    await member.crash()
    delete_up_to(harness, 4)
    await publish(harness, 8, 10)

    async def accepted() -> Collection[Gap]:
        return [Gap(PART, 1, 3)]

    again = await harness.member(accepted=accepted)
    await eventually(lambda: is_committed(harness, 10))
    assert sorted(await harness.echoes()) == [0, *range(2, 10)]
    assert again.probe.outcomes == {"emit": 2}


@pytest.mark.parametrize("failures", [0, 1, 7])
async def test_what_the_client_drops_is_delivered_again(harness: Harness, failures: int) -> None:
    member = await running(harness)
    await publish(harness, 5, 15)
    source = source_of(member)
    source.failures = failures
    source.drop_to(10)
    member.source.resume([PART])
    await eventually(lambda: is_committed(harness, 15))
    assert sorted(await harness.echoes()) == list(range(15))
    assert member.probe.retries["unavailable"] == failures


async def test_nothing_beyond_a_gap_is_begun_while_the_bounds_are_unknown(harness: Harness) -> None:
    member = await running(harness)
    await publish(harness, 5, 15)
    source = source_of(member)
    source.failures = 10**9
    source.drop_to(10)
    member.source.resume([PART])
    asked = source.asked
    await eventually(lambda: source.asked > asked + 5)
    assert PART in source.paused
    assert sorted(await harness.echoes()) == list(range(5))
    assert await harness.committed() == 5
    source.failures = 0
    await eventually(lambda: is_committed(harness, 15))
    assert sorted(await harness.echoes()) == list(range(15))


async def test_offsets_without_a_message_are_passed_when_the_gap_comes_twice(
    harness: Harness,
) -> None:
    await publish(harness, 0, 3)
    log = broker_of(harness).logs[PART]
    log.records += [(None, None, ())] * 2
    await publish(harness, 5, 8)
    member = await harness.member()
    await eventually(lambda: is_committed(harness, 8))
    assert sorted(await harness.echoes()) == [0, 1, 2, 5, 6, 7]
    await member.stop()


async def test_a_rebalance_while_the_bounds_are_read_begins_at_the_committed_offset(
    harness: Harness,
) -> None:
    member = await running(harness)
    await publish(harness, 5, 15)
    source = source_of(member)
    source.failures = 3
    source.drop_to(10)
    member.source.resume([PART])
    await eventually(lambda: source.failures < 3)
    await broker_of(harness).rebalance("workers")
    await eventually(lambda: is_committed(harness, 15))
    assert sorted(await harness.echoes()) == list(range(15))


async def test_a_held_member_with_a_suspect_partition_stays_held(harness: Harness) -> None:
    member = await running(harness)
    await publish(harness, 5, 15)
    source = source_of(member)
    source.failures = 10**9
    source.drop_to(10)
    member.source.resume([PART])
    asked = source.asked
    await eventually(lambda: source.asked > asked)
    member.loop.hold()
    source.failures = 0
    await eventually(lambda: source.owned[PART] == 5)
    await asyncio.sleep(0.1)
    assert PART in source.paused
    assert sorted(await harness.echoes()) == list(range(5))
    member.loop.release()
    await eventually(lambda: is_committed(harness, 15))
    assert sorted(await harness.echoes()) == list(range(15))


async def test_running_work_is_reattached_although_its_delivery_is_dropped_at_first(
    harness: Harness,
) -> None:
    """Detached work waits for its record to be delivered again; the recheck brings it."""
    gate, begun = asyncio.Event(), list[int]()

    async def work(item: Item) -> Outcome:
        begun.append(item.number)
        await gate.wait()
        return await echo(item)

    await publish(harness, 0, 4)
    member = await harness.member(work)
    await eventually(lambda: len(begun) == 4)
    source = source_of(member)
    drop_once(source, 2)
    await broker_of(harness).rebalance("workers")
    gate.set()
    await eventually(lambda: is_committed(harness, 4))
    assert sorted(begun) == [0, 1, 2, 3], "nothing was begun twice"
    assert source.asked > 2, "the log was looked at"


async def test_a_drain_during_a_recheck_reattaches_what_still_runs(harness: Harness) -> None:
    gate, begun = asyncio.Event(), list[int]()

    async def work(item: Item) -> Outcome:
        begun.append(item.number)
        await gate.wait()
        return await echo(item)

    await publish(harness, 0, 4)
    member = await harness.member(work)
    await eventually(lambda: len(begun) == 4)
    source = source_of(member)
    drop_once(source, 2)
    member.loop.stop()
    await broker_of(harness).rebalance("workers")
    gate.set()
    await asyncio.wait_for(member.task, QUICK.grace_s + 5)
    assert await harness.committed() == 4
    assert sorted(await harness.echoes()) == [0, 1, 2, 3]


def drop_once(source: Skipping, offset: int) -> None:
    """After the next seek the client moves on to ``offset`` at once."""
    seek: Callable[[Partition, int], None] = source.seek

    def dropping(partition: Partition, to: int) -> None:
        seek(partition, to)
        source.__dict__.pop("seek", None)
        source.drop_to(offset)

    source.__dict__["seek"] = dropping


async def test_an_accepted_gap_is_committed_although_nothing_follows_it(harness: Harness) -> None:
    """Otherwise it would be listed, and count as lag, until the next record comes."""
    member = await running(harness)
    await member.stop()
    await publish(harness, 5, 10)
    delete_up_to(harness, 10)

    async def accepted() -> Collection[Gap]:
        return [Gap(PART, 5, 9)]

    await harness.member(accepted=accepted)
    await eventually(lambda: is_committed(harness, 10))


async def test_a_position_without_a_commit_is_remembered_as_0(harness: Harness) -> None:
    """A rebalance before the first commit is no recreated topic."""
    stuck = asyncio.Event()

    async def work(item: Item) -> Outcome:
        await stuck.wait()
        return await echo(item)

    await publish(harness, 0, 3)
    member = await harness.member(work)
    await eventually(lambda: member.loop.in_flight == 3)
    await broker_of(harness).rebalance("workers")
    stuck.set()
    await eventually(lambda: is_committed(harness, 3))
    assert broker_of(harness).offsets["workers"][PART] == Position(3)
