"""Records that end the engine, over many lives of a worker, on the broker in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from functools import partial

import pytest

from promptmill.runtime.errors import EngineDead, Misconfigured
from promptmill.stream.in_flight import Deaths
from promptmill.stream.layout import DataSetLayout
from promptmill.stream.loop import StreamLoop
from promptmill.stream.outcome import Outcome
from promptmill.stream.ports import Delivery, Partition, Sender, Source
from promptmill.testing.broker import MemoryBroker, MemorySender, MemorySource
from promptmill.testing.in_flight import FlightEntries, MemoryFlights
from support.streams import ITEMS, QUICK, CountingProbe, Harness, Item, Member, done_in, echo
from support.waiting import eventually

COUNT = 200
SLOTS = 16
SETTINGS = replace(QUICK, slots=SLOTS, prefetch=COUNT)
P = Partition("items", 0)


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


@dataclass
class Engine:
    """Echoes items; it dies of some, and takes with it what runs beside them."""

    killers: set[int] = field(default_factory=set)
    running: set[int] = field(default_factory=set)
    beside_killers: list[set[int]] = field(default_factory=list)

    async def __call__(self, item: Item) -> Outcome:
        self.running.add(item.number)
        try:
            await asyncio.sleep(0.005)
            if item.number in self.killers:
                self.beside_killers.append(set(self.running) - {item.number})
                raise EngineDead("CUDA error: device-side assert")
            return await echo(item)
        finally:
            self.running.discard(item.number)


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    harness = Harness(InMemory())
    yield harness
    await harness.close()


def life(harness: Harness, entries: FlightEntries, engine: Engine) -> Member:
    """A worker process: a loop with a log of its own on the entries that all lives share."""
    source, probe = harness.broker.source("workers", ITEMS.name), CountingProbe()
    loop = StreamLoop(
        source,
        harness.broker.sender(),
        engine,
        stage="echo",
        topic=ITEMS,
        settings=SETTINGS,
        probe=probe,
    )
    loop.remember_deaths(MemoryFlights(entries))
    member = Member(loop, source, probe, asyncio.create_task(loop.run()))
    harness.members.append(member)
    return member


async def lives_until_settled(harness: Harness, entries: FlightEntries, engine: Engine) -> int:
    """Workers, each started after the death of the one before; how many it took."""
    for number in range(1, 30):
        member = life(harness, entries, engine)
        await eventually(lambda m=member: _done(harness, m))  # type: ignore[misc]
        if not member.task.done():
            await member.stop()
            return number
        with pytest.raises(EngineDead):
            member.task.result()
        engine.running.clear()
    raise AssertionError("the killers end one worker after another")


async def _positions(harness: Harness) -> dict[Partition, int]:
    committed = await harness.broker.committed("workers", ITEMS.name)
    return {Partition(ITEMS.name, number): offset for number, offset in committed.items()}


async def _done(harness: Harness, member: Member) -> bool:
    return member.task.done() or await harness.committed() == COUNT


@pytest.mark.parametrize("killers", [{3}, {3, 150}, {10, 11, 12}])
async def test_killers_are_dead_lettered_and_everything_else_is_settled(
    harness: Harness, killers: set[int]
) -> None:
    await harness.publish(*(Item(number=n) for n in range(COUNT)))
    engine, entries = Engine(killers), FlightEntries()
    lives = await lives_until_settled(harness, entries, engine)
    assert lives <= 1 + 5 * len(killers)
    assert set(await harness.echoes()) == set(range(COUNT)) - killers
    letters = list({letter.letter_id: letter for letter in await harness.letters()}.values())
    assert [letter.reason for letter in letters] == ["engine_killer"] * len(killers)
    assert all(letter.attempts >= 3 for letter in letters)
    assert "dead replay" in letters[0].detail
    assert sum(not beside for beside in engine.beside_killers) >= 2 * len(killers)
    seen = await MemoryFlights(entries).read(await _positions(harness))
    assert not any(seen.values()), "nothing is left of what is committed"


async def test_without_a_log_the_killer_ends_one_worker_after_another(harness: Harness) -> None:
    """What the log is for."""
    await harness.publish(Item(number=3))
    for _ in range(6):
        member = await harness.member(Engine({3}))
        with pytest.raises(EngineDead):
            await member.task
    assert await harness.letters() == []


async def test_killed_workers_that_had_no_killer_lose_nothing_to_dead_letters(
    harness: Harness,
) -> None:
    await harness.publish(*(Item(number=n) for n in range(COUNT)))
    engine, entries, left = Engine(), FlightEntries(), 0

    async def work(item: Item) -> Outcome:
        """Only so many items end in a life: each is crashed at the same point of its work."""
        nonlocal left
        outcome = await engine(item)
        left -= 1
        return outcome if left >= 0 else await asyncio.Future[Outcome]()

    def is_stuck(member: Member, done: int) -> bool:
        return member.loop.in_flight == SLOTS and done_in(broker.offsets["workers"]) == done

    assert isinstance(harness.broker, InMemory)
    broker = harness.broker.broker
    for number in range(1, 6):
        left = SLOTS
        member = life(harness, entries, engine)
        member.loop._attempts._work = work
        await eventually(partial(is_stuck, member, number * SLOTS))
        await member.crash()
    assert any(entries.partitions.values()), "what was at work is remembered"
    await lives_until_settled(harness, entries, engine)
    assert set(await harness.echoes()) == set(range(COUNT))
    assert await harness.letters() == []


@pytest.mark.parametrize("way", ["drain", "revoke", "another error"])
async def test_an_orderly_end_is_no_death(harness: Harness, way: str) -> None:
    engine, entries = Engine(), FlightEntries()
    gate = asyncio.Event()

    async def work(item: Item) -> Outcome:
        await gate.wait()
        return await echo(item)

    await harness.publish(*(Item(number=n) for n in range(SLOTS)))
    member = life(harness, entries, engine)
    member.loop._attempts._work = work
    await eventually(lambda: member.loop.in_flight == SLOTS)
    await eventually(lambda: sum(map(len, entries.partitions.values())) == SLOTS)
    if way == "drain":
        member.loop.stop()
        gate.set()
        await member.task
    elif way == "revoke":
        await member.loop.on_revoked(member.loop.assigned)
    else:
        member.loop.fail(Misconfigured("the topic was deleted"))
        with pytest.raises(Misconfigured):
            await member.task
    assert not any(entries.partitions.values())
    if way == "revoke":
        await member.crash()


async def test_work_that_is_reattached_is_remembered_again(harness: Harness) -> None:
    entries, gate = FlightEntries(), asyncio.Event()

    async def work(item: Item) -> Outcome:
        await gate.wait()
        return await echo(item)

    await harness.publish(*(Item(number=n) for n in range(SLOTS)))
    member = life(harness, entries, Engine())
    member.loop._attempts._work = work
    await eventually(lambda: member.loop.in_flight == SLOTS)
    assert isinstance(harness.broker, InMemory)
    await harness.broker.broker.rebalance("workers")
    await eventually(lambda: sum(map(len, entries.partitions.values())) == SLOTS)
    await member.crash()
    seen = await MemoryFlights(entries).read(dict.fromkeys(entries.partitions, 0))
    assert {deaths for found in seen.values() for deaths in found.values()} == {Deaths(1, 0)}


async def test_a_suspect_that_only_its_begin_reveals_waits_for_its_turn(harness: Harness) -> None:
    """The log was not read at the assignment; after three deaths a record runs alone."""
    entries = FlightEntries()
    for partition in range(4):
        for _ in range(3):
            await MemoryFlights(entries).begin(Partition("items", partition), 0, alone=False)

    class Unread(MemoryFlights):
        async def read(self, positions: object) -> dict[Partition, dict[int, Deaths]]:
            return {}

    beside: list[int] = []
    running: set[int] = set()

    async def work(item: Item) -> Outcome:
        running.add(item.number)
        await asyncio.sleep(0.02)
        beside.append(len(running))
        running.discard(item.number)
        return await echo(item)

    await harness.publish(*(Item(number=n) for n in range(COUNT)))
    member = life(harness, entries, Engine())
    member.loop._attempts._work = work
    member.loop.remember_deaths(Unread(entries))
    await eventually(lambda: _done(harness, member), 30)
    assert beside.count(1) >= 4, "each of the four suspects ran alone"
    assert sorted(await harness.echoes()) == list(range(COUNT))
    assert member.probe.outcomes == {"emit": COUNT}
