"""Rows 7, 8, 9 and 16 in one process, where every step can be held."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import pytest

from promptmill.kafka import consumer as kafka_source
from promptmill.stream.outcome import Outcome
from promptmill.stream.ports import Partition, Position
from promptmill.testing.broker import MemorySender, MemorySource
from support.chaos.backend import Backend
from support.chaos.loop_brokers import InMemory, OnKafka
from support.kafka_topics import make_topics
from support.stack import unique_name
from support.streams import ECHOES, ITEMS, QUICK, Harness, Item, echo
from support.waiting import eventually

REBALANCE_MS = 3_000
ITEMS_IN_A_TEST = 60


class AskedLate(MemorySource):
    """Records are polled while ``on_assigned`` still asks where to begin."""

    async def committed(self, partitions: Collection[Partition]) -> Mapping[Partition, Position]:
        before = dict(self.owned)
        await eventually(lambda: self.owned != before, because="records came meanwhile")
        return await super().committed(partitions)


async def test_08_a_rebalance_while_paused() -> None:
    """The client forgets pauses; nothing is delivered before they are there again."""
    broker = InMemory()
    harness = Harness(broker)
    member = await harness.member()
    await eventually(lambda: len(member.loop.assigned) == 4)
    member.loop.hold()
    await harness.publish(*(Item(number=number) for number in range(ITEMS_IN_A_TEST)))
    await broker.broker.rebalance("workers")
    await asyncio.sleep(0.1)
    assert member.loop.waiting == 0
    member.loop.release()
    await eventually(lambda: has_committed(harness, ITEMS_IN_A_TEST))
    await harness.close()


async def test_09_records_delivered_inside_on_assigned_are_dispatched_once() -> None:
    begun: Counter[int] = Counter()

    async def work(item: Item) -> Outcome:
        begun[item.number] += 1
        return await echo(item)

    harness = Harness(InMemory(member=AskedLate))
    await harness.publish(*(Item(number=number) for number in range(ITEMS_IN_A_TEST)))
    await harness.member(work)
    await eventually(lambda: has_committed(harness, ITEMS_IN_A_TEST))
    await harness.close()
    assert begun == dict.fromkeys(range(ITEMS_IN_A_TEST), 1)
    assert sorted(await harness.echoes()) == list(range(ITEMS_IN_A_TEST))


async def test_16_nothing_is_committed_before_its_output_is_acknowledged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    acknowledged = asyncio.Event()

    async def late(sender: MemorySender, topic: str, key: bytes, value: bytes, *_: Any) -> None:
        await acknowledged.wait()
        sender.broker.append(topic, key, value)

    harness = Harness(InMemory())
    await harness.publish(*(Item(number=number) for number in range(QUICK.slots)))
    monkeypatch.setattr(MemorySender, "send", late)
    member = await harness.member()
    await eventually(lambda: member.loop.in_flight == QUICK.slots)
    await asyncio.sleep(4 * QUICK.commit_interval_s)
    assert await harness.committed() == 0
    acknowledged.set()
    await eventually(lambda: has_committed(harness, QUICK.slots))
    await harness.close()


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.chaos
@pytest.mark.real
async def test_07_revoke_slower_than_the_rebalance_timeout(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group goes on without the slow member; its late commit is refused; it joins again."""
    monkeypatch.setattr(kafka_source, "REBALANCE_TIMEOUT_MS", REBALANCE_MS)
    prefix = f"{unique_name('c')}."
    names = [prefix + topic for topic in (ITEMS.name, ECHOES.name, "dead-letters")]
    await make_topics(backend.kafka, names, 4)
    harness = Harness(OnKafka(backend.kafka, prefix))
    slow = await harness.member(settings=replace(QUICK, revoke_budget_s=3 * REBALANCE_MS / 1000))
    sender = slow.loop._attempts._sender
    publishing = asyncio.Event()
    send = sender.send

    async def held(topic: str, *message: Any) -> None:
        await publishing.wait()
        await send(topic, *message)

    monkeypatch.setattr(sender, "send", held)
    await eventually(lambda: len(slow.loop.assigned) == 4)
    await harness.publish(*(Item(number=number) for number in range(ITEMS_IN_A_TEST)))
    await eventually(lambda: slow.loop.in_flight == QUICK.slots)
    quick = await harness.member()
    await eventually(lambda: len(quick.loop.assigned) == 4, because="the quick one has all of it")
    publishing.set()
    await eventually(lambda: len(slow.loop.assigned) == 2, because="the slow one is back")
    await eventually(lambda: has_committed(harness, ITEMS_IN_A_TEST))
    await harness.close()
    assert set(await harness.echoes()) == set(range(ITEMS_IN_A_TEST))


async def has_committed(harness: Harness, number: int) -> bool:
    return await harness.committed() == number
