"""What a stopping loop publishes is committed; what it cannot commit it does not publish."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from promptmill.stream.layout import DataSetLayout
from promptmill.stream.outcome import Outcome
from promptmill.stream.ports import Delivery, Partition, Position, Sender, Source
from promptmill.testing.broker import MemoryBroker, MemorySender, MemorySource
from support.streams import QUICK, Harness, Item, echo
from support.waiting import eventually


class SlowCoordinator(MemorySource):
    """Each commit takes its time."""

    async def commit(self, positions: Mapping[Partition, Position]) -> None:
        await asyncio.sleep(0.2)
        await super().commit(positions)


class SlowToCommit:
    """A broker in memory whose commits take longer than the last generations."""

    prefix = ""

    def __init__(self) -> None:
        self.broker = MemoryBroker(partitions=1)

    def source(self, group: str, topic: str) -> Source:
        return SlowCoordinator(self.broker, group, [topic])

    def sender(self, layout: DataSetLayout | None = None) -> Sender:
        return MemorySender(self.broker, layout)

    async def read(self, topic: str) -> list[Delivery]:
        return self.broker.topic(topic)

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        return {p.number: at.offset for p, at in self.broker.offsets[group].items()}


async def test_what_ends_while_the_last_commit_is_under_way_is_not_done_twice() -> None:
    async def work(item: Item) -> Outcome:
        await asyncio.sleep(0.01 if item.number else 0.3)
        return await echo(item)

    harness = Harness(SlowToCommit())
    await harness.publish(*(Item(number=number) for number in range(3)))
    member = await harness.member(work, replace(QUICK, grace_s=0.2, commit_interval_s=60))
    await eventually(lambda: member.probe.outcomes["emit"] == 2)
    await member.stop()
    await harness.member()
    await eventually(lambda: has_committed(harness, 3))
    await harness.close()
    assert sorted(await harness.echoes()) == [0, 1, 2]


async def has_committed(harness: Harness, number: int) -> bool:
    return await harness.committed() == number
