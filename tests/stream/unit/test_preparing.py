"""What a stage prepares at an assignment: first partitions wait for it, others do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest

from promptmill.stream.ports import Partition
from promptmill.stream.start_offsets import Start
from support.chaos.loop_brokers import InMemory
from support.streams import Harness, Item, Member
from support.waiting import eventually


class Gate:
    """A preparation that lasts until it is opened."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.asked: list[Mapping[Partition, Start]] = []

    async def __call__(self, starts: Mapping[Partition, Start]) -> None:
        self.asked.append(starts)
        await self.opened.wait()


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    harness = Harness(InMemory())
    yield harness
    await harness.close()


async def preparing(harness: Harness, gate: Gate) -> Member:
    member = await harness.member()
    member.loop.prepare_with(gate)  # the loop's task has not begun yet
    return member


async def publish(harness: Harness, first: int, end: int) -> None:
    await harness.publish(*(Item(number=number) for number in range(first, end)))


async def test_nothing_of_a_first_partition_is_dispatched_until_it_is_prepared(
    harness: Harness,
) -> None:
    await publish(harness, 0, 10)
    gate = Gate()
    member = await preparing(harness, gate)
    await eventually(lambda: gate.asked)
    await publish(harness, 10, 20)
    for _ in range(100):
        await asyncio.sleep(0)
    assert (await harness.echoes(), member.loop.in_flight, member.loop.waiting) == ([], 0, 0)
    gate.opened.set()
    await eventually(lambda: _is_committed(harness, 20))
    assert sorted(await harness.echoes()) == list(range(20))
    assert {start.end for start in gate.asked[0].values()} <= set(range(11))


async def test_partitions_with_a_commit_do_not_wait(harness: Harness) -> None:
    await publish(harness, 0, 20)
    await (await _after(harness, 20)).stop()
    await publish(harness, 20, 30)
    await preparing(harness, Gate())
    await eventually(lambda: _is_committed(harness, 30))


@pytest.mark.parametrize("members", [1, 2])
async def test_partitions_that_leave_while_they_are_prepared_are_done_once(
    harness: Harness, members: int
) -> None:
    await publish(harness, 0, 10)
    gates = [Gate() for _ in range(members)]
    for gate in gates:
        await preparing(harness, gate)
    await eventually(lambda: all(gate.asked for gate in gates))
    assert isinstance(harness.broker, InMemory)
    await harness.broker.broker.rebalance("workers")
    for gate in gates:
        gate.opened.set()
    await eventually(lambda: _is_committed(harness, 10))
    assert sorted(await harness.echoes()) == list(range(10))


async def test_a_member_that_is_told_to_stop_does_not_wait_for_its_preparation(
    harness: Harness,
) -> None:
    gate = Gate()
    member = await preparing(harness, gate)
    await eventually(lambda: gate.asked)
    await asyncio.wait_for(member.stop(), 60)


async def test_a_preparation_that_fails_ends_the_member(harness: Harness) -> None:
    async def fail(_starts: Mapping[Partition, Start]) -> None:
        raise ValueError("broken")

    member = await harness.member()
    member.loop.prepare_with(fail)
    with pytest.raises(Exception, match="broken"):
        await asyncio.wait_for(member.task, 60)


async def _after(harness: Harness, committed: int) -> Member:
    member = await harness.member()
    await eventually(lambda: _is_committed(harness, committed))
    return member


async def _is_committed(harness: Harness, offset: int) -> bool:
    return await harness.committed() == offset
