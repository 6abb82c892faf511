"""Rebalances, step by step, over the broker in memory."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from promptmill.runtime.errors import Misconfigured
from promptmill.stream.layout import DataSetLayout
from promptmill.stream.outcome import Outcome
from promptmill.stream.ports import Delivery, Partition, Position, Sender, Source
from promptmill.stream.settings import LoopSettings
from promptmill.testing.broker import MemoryBroker, MemorySender, MemorySource
from support.streams import QUICK, Harness, Item, Member, echo
from support.waiting import eventually

COUNT = 24


class InMemory:
    """The broker in memory, as the harness wants it."""

    prefix = ""

    def __init__(self) -> None:
        self.broker = MemoryBroker(partitions=4)

    def source(self, group: str, topic: str) -> Source:
        return MemorySource(self.broker, group, [topic])

    def sender(self, layout: DataSetLayout | None = None) -> Sender:
        return MemorySender(self.broker, layout)

    async def read(self, topic: str) -> list[Delivery]:
        return self.broker.topic(topic)

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        offsets = self.broker.offsets[group]
        return {p.number: at.offset for p, at in offsets.items() if p.topic == topic}


class Gated:
    """Work that waits for a gate, unless it is free; counts how often each item was begun."""

    def __init__(self) -> None:
        self.begun: Counter[int] = Counter()
        self.aborted: Counter[int] = Counter()
        self.gate = asyncio.Event()
        self.free: set[int] = set()

    async def __call__(self, item: Item) -> Outcome:
        self.begun[item.number] += 1
        try:
            if item.number not in self.free:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.aborted[item.number] += 1
            raise
        return await echo(item)


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    harness = Harness(InMemory())
    yield harness
    await harness.close()


def broker_of(harness: Harness) -> MemoryBroker:
    assert isinstance(harness.broker, InMemory)
    return harness.broker.broker


async def started(harness: Harness, work: Gated, settings: LoopSettings = QUICK) -> Member:
    """A member that has begun all items."""
    await harness.publish(*(Item(number=n) for n in range(COUNT)))
    member = await harness.member(work, replace(settings, slots=COUNT, prefetch=COUNT))
    await eventually(lambda: len(work.begun) == COUNT)
    return member


async def test_running_work_is_reattached_when_its_partition_returns(harness: Harness) -> None:
    work = Gated()
    member = await started(harness, work)
    await broker_of(harness).rebalance("workers")
    await broker_of(harness).rebalance("workers")
    await eventually(lambda: len(member.loop.assigned) == 4)
    work.gate.set()
    await eventually(lambda: _settled(harness))
    assert set(work.begun.values()) == {1}, "nothing is begun twice"
    assert sorted(await harness.echoes()) == list(range(COUNT))


async def test_running_work_is_reattached_when_its_partition_is_assigned_again(
    harness: Harness,
) -> None:
    """The client revokes before it assigns; nothing hangs on that."""
    work = Gated()
    member = await started(harness, work)
    (source,) = broker_of(harness).groups["workers"]
    await source.assign(list(source.owned))
    work.gate.set()
    await eventually(lambda: _settled(harness))
    assert set(work.begun.values()) == {1}, "nothing is begun twice"
    assert sorted(await harness.echoes()) == list(range(COUNT))
    assert member.loop.waiting == 0


async def test_work_whose_partition_goes_to_another_member_is_aborted(harness: Harness) -> None:
    mine, theirs = Gated(), Gated()
    await started(harness, mine)
    await harness.member(theirs, replace(QUICK, slots=COUNT, prefetch=COUNT))
    await eventually(lambda: len(theirs.begun) > 0)
    await eventually(lambda: set(mine.aborted) == set(theirs.begun))
    mine.gate.set()
    theirs.gate.set()
    await eventually(lambda: _settled(harness))
    assert sorted(await harness.echoes()) == list(range(COUNT))


async def test_what_finishes_while_the_partition_is_nobodys_waits_for_its_home(
    harness: Harness,
) -> None:
    """It must not be published: another member may have the record by then."""
    work = Gated()
    member = await started(harness, work)
    await member.loop.on_revoked(member.loop.assigned)
    work.gate.set()
    await asyncio.sleep(0.1)
    assert await harness.echoes() == []
    assert member.loop.in_flight == COUNT
    await broker_of(harness).rebalance("workers")
    await eventually(lambda: _settled(harness))
    assert sorted(await harness.echoes()) == list(range(COUNT))


async def test_what_finishes_during_the_last_commit_of_an_assignment_is_not_published(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That commit does not say it any more, so the next owner would do it again."""
    work = Gated()
    work.free = {0}
    await harness.publish(*(Item(number=n) for n in range(COUNT)))
    settings = replace(QUICK, slots=COUNT, prefetch=COUNT, commit_interval_s=60)
    member = await harness.member(work, settings)
    await eventually(harness.echoes)
    acknowledged, commit = asyncio.Event(), member.source.commit

    async def late(positions: Mapping[Partition, Position]) -> None:
        await acknowledged.wait()
        await commit(positions)

    monkeypatch.setattr(member.source, "commit", late)
    leaving = asyncio.create_task(member.loop.on_revoked(member.loop.assigned))
    await asyncio.sleep(0.05)
    work.gate.set()
    await asyncio.sleep(0.1)
    assert await harness.echoes() == [0]
    acknowledged.set()
    await leaving
    await broker_of(harness).rebalance("workers")
    await eventually(lambda: member.loop.in_flight == 0)
    assert sorted(await harness.echoes()) == list(range(COUNT))
    assert set(work.begun.values()) == {1}, "what waited for its home is not begun again"


async def test_a_partition_that_is_leaving_dispatches_nothing_more(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Polling goes on while its last commit is made, so records of it still arrive."""
    work = Gated()
    work.gate.set()
    member = await harness.member(work, replace(QUICK, commit_interval_s=60))
    await harness.publish(Item(number=0))
    await eventually(harness.echoes)
    acknowledged, commit = asyncio.Event(), member.source.commit

    async def late(positions: Mapping[Partition, Position]) -> None:
        await acknowledged.wait()
        await commit(positions)

    monkeypatch.setattr(member.source, "commit", late)
    leaving = asyncio.create_task(member.loop.on_revoked(member.loop.assigned))
    await asyncio.sleep(0)
    await harness.publish(*(Item(number=n) for n in range(COUNT)))
    await eventually(lambda: _delivered(member, 1 + COUNT))
    acknowledged.set()
    await leaving
    assert work.begun.total() == 1, "nothing but the first item was begun"
    await broker_of(harness).rebalance("workers")
    await eventually(lambda: work.begun.total() == 1 + COUNT)


def _delivered(member: Member, count: int) -> bool:
    assert isinstance(member.source, MemorySource)
    return sum(member.source.owned.values()) == count


async def test_what_is_being_published_when_its_partition_leaves_is_done_once_it_returns(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its acknowledgement comes after the last commit: only the next assignment can say it."""
    acknowledged, send = asyncio.Event(), MemorySender.send

    async def late(sender: MemorySender, topic: str, *message: Any) -> None:
        if topic == "echoes":
            await acknowledged.wait()
        await send(sender, topic, *message)

    monkeypatch.setattr(MemorySender, "send", late)
    work = Gated()
    work.gate.set()
    await harness.publish(*(Item(number=n) for n in range(COUNT)))
    settings = replace(QUICK, slots=COUNT, prefetch=COUNT, revoke_budget_s=0.1)
    member = await harness.member(work, settings)
    await eventually(lambda: len(work.begun) == COUNT)
    await member.loop.on_revoked(member.loop.assigned)
    acknowledged.set()
    await asyncio.sleep(0.1)
    await broker_of(harness).rebalance("workers")
    await eventually(lambda: _settled(harness))
    assert set(work.begun.values()) == {1}
    assert sorted(await harness.echoes()) == list(range(COUNT))


async def test_what_another_member_has_committed_meanwhile_is_aborted_on_return(
    harness: Harness,
) -> None:
    work = Gated()
    member = await started(harness, work)
    broker = broker_of(harness)
    await member.loop.on_revoked(member.loop.assigned)
    for partition, log in list(broker.logs.items()):
        if partition.topic == "items":
            broker.offsets["workers"][partition] = Position(log.end)
    await broker.rebalance("workers")
    await eventually(lambda: sum(work.aborted.values()) == COUNT)
    await eventually(lambda: member.loop.in_flight == 0)
    assert await harness.echoes() == []


async def test_a_held_loop_stays_held_over_a_rebalance(harness: Harness) -> None:
    member = await harness.member()
    await eventually(lambda: len(member.loop.assigned) == 4)
    member.loop.hold()
    await broker_of(harness).rebalance("workers")
    await harness.publish(Item(number=1))
    await asyncio.sleep(0.1)
    assert isinstance(member.source, MemorySource)
    assert member.source.paused == set(member.loop.assigned)
    assert await harness.echoes() == []
    member.loop.release()
    await eventually(lambda: _settled(harness, 1))


async def test_a_topic_made_anew_between_two_assignments_ends_the_member(harness: Harness) -> None:
    """The broker forgets the group's offsets with the topic; that is no new beginning."""
    work = Gated()
    work.gate.set()
    member = await started(harness, work)
    await eventually(lambda: _settled(harness))
    broker = broker_of(harness)
    for partition in [p for p in broker.logs if p.topic == "items"]:
        del broker.logs[partition]
        broker.offsets["workers"].pop(partition, None)
    await broker.rebalance("workers")
    with pytest.raises(Misconfigured, match="the topic was recreated"):
        await asyncio.wait_for(member.task, 60)


async def _settled(harness: Harness, count: int = COUNT) -> bool:
    return await harness.committed() == count


async def test_a_rebalance_during_the_drain_does_not_strand_running_work(harness: Harness) -> None:
    work, patient = Gated(), replace(QUICK, grace_s=60.0)
    member = await started(harness, work, patient)
    member.loop.stop()
    await asyncio.sleep(0.05)
    await broker_of(harness).rebalance("workers")
    await asyncio.sleep(0.05)
    work.gate.set()
    await asyncio.wait_for(member.task, patient.grace_s / 2)
    assert await harness.committed() == COUNT
    assert sorted(await harness.echoes()) == list(range(COUNT))
