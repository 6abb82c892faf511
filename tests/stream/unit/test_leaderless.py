"""A partition whose leader does not answer delays neither its member nor the other partitions."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace

import pytest

from promptmill.runtime.errors import Misconfigured, Unavailable
from promptmill.stream.outcome import Outcome
from promptmill.stream.ports import Partition
from promptmill.testing.broker import MemorySource
from support.chaos.loop_brokers import InMemory
from support.streams import ITEMS, QUICK, Harness, Item, echo
from support.waiting import eventually

COUNT = 40
SETTINGS = replace(QUICK, slots=COUNT, prefetch=COUNT)
LEADERLESS = Partition(ITEMS.name, 2)


class Leaderless(MemorySource):
    """A member that cannot read the bounds of some partitions."""

    def __init__(self, *options: object) -> None:
        super().__init__(*options)  # type: ignore[arg-type]
        self.leaderless: set[Partition] = set()
        self.asked = 0

    async def bounds(
        self, partitions: Collection[Partition]
    ) -> Mapping[Partition, tuple[int, int]]:
        if hidden := self.leaderless.intersection(partitions):
            self.asked += 1
            raise Unavailable(f"{hidden} has no leader")
        return await super().bounds(partitions)


class LeaderlessFromStart(Leaderless):
    """One of its partitions has no leader yet."""

    def __init__(self, *options: object) -> None:
        super().__init__(*options)
        self.leaderless = {LEADERLESS}


def on(member: type[Leaderless]) -> Harness:
    """A harness with members of this class."""
    return Harness(InMemory(member=member))


def source_of(harness: Harness) -> Leaderless:
    (member,) = harness.members
    assert isinstance(member.source, Leaderless)
    return member.source


def numbers_in(harness: Harness, *partitions: int) -> int:
    """How many items are in these partitions."""
    assert isinstance(harness.broker, InMemory)
    logs = harness.broker.broker.logs
    return sum(logs[Partition(ITEMS.name, number)].end for number in partitions)


async def echoed(harness: Harness, count: int) -> bool:
    return len(await harness.echoes()) == count


async def test_the_other_partitions_are_processed_meanwhile() -> None:
    harness = on(LeaderlessFromStart)
    await harness.publish(*(Item(number=number) for number in range(COUNT)))
    member = await harness.member(settings=SETTINGS)
    await eventually(lambda: echoed(harness, numbers_in(harness, 0, 1, 3)))
    assert member.loop.joined.is_set()
    assert numbers_in(harness, 2) > 0
    source_of(harness).leaderless.clear()
    await eventually(lambda: echoed(harness, COUNT))
    assert sorted(await harness.echoes()) == list(range(COUNT))
    await harness.close()


async def test_a_rebalance_meanwhile_opens_nothing_twice() -> None:
    harness = on(LeaderlessFromStart)
    await harness.publish(*(Item(number=number) for number in range(COUNT)))
    await harness.member(settings=SETTINGS)
    await eventually(lambda: echoed(harness, numbers_in(harness, 0, 1, 3)))
    assert isinstance(harness.broker, InMemory)
    await harness.broker.broker.rebalance("workers")
    await harness.broker.broker.rebalance("workers")
    source_of(harness).leaderless.clear()
    await eventually(lambda: echoed(harness, COUNT))
    assert sorted(await harness.echoes()) == list(range(COUNT))
    await harness.close()


async def test_a_partition_that_left_meanwhile_is_not_opened() -> None:
    harness = on(LeaderlessFromStart)
    member = await harness.member(settings=SETTINGS)
    source = source_of(harness)
    await eventually(lambda: source.asked > 2)
    await member.loop.on_revoked([LEADERLESS])
    asked = source.asked
    source.leaderless.clear()
    await asyncio.sleep(0.2)
    assert LEADERLESS not in member.loop.assigned
    assert source.asked == asked
    await harness.close()


async def test_its_running_work_is_reattached_once_it_is_opened() -> None:
    harness = on(Leaderless)
    begun: Counter[int] = Counter()
    gate = asyncio.Event()

    async def work(item: Item) -> Outcome:
        begun[item.number] += 1
        await gate.wait()
        return await echo(item)

    await harness.publish(*(Item(number=number) for number in range(COUNT)))
    await harness.member(work, SETTINGS)
    await eventually(lambda: len(begun) == COUNT)
    source = source_of(harness)
    source.leaderless.add(LEADERLESS)
    assert isinstance(harness.broker, InMemory)
    await harness.broker.broker.rebalance("workers")
    gate.set()
    await eventually(lambda: echoed(harness, numbers_in(harness, 0, 1, 3)))
    source.leaderless.clear()
    await eventually(lambda: echoed(harness, COUNT))
    assert set(begun.values()) == {1}
    await harness.close()


async def test_what_is_found_in_it_later_ends_the_member() -> None:
    harness = on(LeaderlessFromStart)
    member = await harness.member(settings=SETTINGS)
    await eventually(member.loop.joined.is_set)
    assert isinstance(harness.broker, InMemory)
    harness.broker.broker.logs[LEADERLESS].first = 5  # retention has deleted records
    source_of(harness).leaderless.clear()
    with pytest.raises(Misconfigured, match="offsets 0 to 4"):
        await member.task
