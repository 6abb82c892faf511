"""A harness for tests of the stream core: items in, echoes out, over any broker."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from promptmill.stream.layout import DataSetLayout
from promptmill.stream.loop import StreamLoop
from promptmill.stream.lost_records import ReadAccepted, nothing_accepted
from promptmill.stream.offsets import decode_map
from promptmill.stream.outcome import Emit, Outcome, Outgoing
from promptmill.stream.ports import Delivery, Partition, Position, Sender, Source
from promptmill.stream.settings import LoopSettings
from promptmill.testing.broker import MemoryBroker, MemorySender, MemorySource
from promptmill_schemas import Contract, DeadLetter, Topic, decode
from promptmill_schemas.topics import DEAD_LETTERS
from support.waiting import eventually


class Item(Contract):
    """A message of the tests."""

    number: int
    text: str = ""


ITEMS = Topic("items", Item, lambda item: str(item.number), 60_000)
ECHOES = Topic("echoes", Item, lambda item: str(item.number), 60_000, 32 * 1024 * 1024)
"""It takes more than the brokers of the tests do, so that a refusal of theirs is seen."""

QUICK = LoopSettings(
    slots=8,
    prefetch=16,
    attempts=3,
    backoff_initial_s=0.01,
    backoff_max_s=0.05,
    deadline_s=20.0,
    commit_interval_s=0.05,
    revoke_budget_s=1.0,
    grace_s=5.0,
)


class Broker(Protocol):
    """What the harness needs of a broker, real or not."""

    prefix: str

    def source(self, group: str, topic: str) -> Source: ...

    def sender(self, layout: DataSetLayout | None = None) -> Sender: ...

    async def read(self, topic: str) -> list[Delivery]: ...

    async def committed(self, group: str, topic: str) -> dict[int, int]: ...


@dataclass
class CountingProbe:
    """Remembers what the loop tells."""

    outcomes: Counter[str] = field(default_factory=Counter)
    retries: Counter[str] = field(default_factory=Counter)

    def settled(self, outcome: str, reason: str, seconds: float) -> None:
        self.outcomes[f"{outcome}:{reason}" if reason else outcome] += 1

    def retried(self, reason: str) -> None:
        self.retries[reason] += 1


async def echo(item: Item) -> Outcome:
    """The simplest work: the same item on the next topic."""
    return Emit((Outgoing(ECHOES, item),))


@dataclass
class Member:
    """A running loop."""

    loop: StreamLoop
    source: Source
    probe: CountingProbe
    task: asyncio.Task[None]

    async def stop(self) -> None:
        """Drain and leave."""
        self.loop.stop()
        await self.task

    async def crash(self) -> None:
        """End at once, as a killed process would: nothing is drained or committed."""
        self.loop.fail(Crash("killed by the test"))
        await asyncio.gather(self.task, return_exceptions=True)


def record_commits(member: Member) -> dict[Partition, Position]:
    """The last position that the broker has taken from this member, by partition, from now on."""
    taken: dict[Partition, Position] = {}
    commit = member.source.commit

    async def recorded(positions: Mapping[Partition, Position]) -> None:
        await commit(positions)
        taken.update(positions)

    member.source.commit = recorded  # type: ignore[method-assign]
    return taken


def done_in(positions: Mapping[Partition, Position]) -> int:
    """How many records these positions say are done: before the offsets, and in their maps."""
    return sum(
        position.offset + len(decode_map(str(partition), position.offset, position.metadata))
        for partition, position in positions.items()
    )


class Crash(BaseException):
    """A test's way to end a loop."""


class Harness:
    """Items in, members at work, echoes out."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.members: list[Member] = []

    async def publish(self, *items: Item) -> None:
        """Put items on the topic."""
        await self.publish_raw(*(item.model_dump_json().encode() for item in items))

    async def publish_raw(self, *values: bytes) -> None:
        """Put bytes on the topic."""
        sender = self.broker.sender()
        await sender.start()
        topic = self.broker.prefix + ITEMS.name
        await asyncio.gather(
            *(sender.send(topic, str(i).encode(), v) for i, v in enumerate(values))
        )
        await sender.stop()

    async def member(
        self,
        work: Callable[[Item], Awaitable[Outcome]] = echo,
        settings: LoopSettings = QUICK,
        group: str = "workers",
        accepted: ReadAccepted = nothing_accepted,
    ) -> Member:
        """Start one more member of the group."""
        source = self.broker.source(group, self.broker.prefix + ITEMS.name)
        probe = CountingProbe()
        loop = StreamLoop(
            source,
            self.broker.sender(settings.layout),
            work,
            stage="echo",
            topic=ITEMS,
            settings=settings,
            probe=probe,
            prefix=self.broker.prefix,
        )
        loop.accept_gaps(accepted)
        member = Member(loop, source, probe, asyncio.create_task(loop.run()))
        self.members.append(member)
        return member

    async def echoes(self) -> list[int]:
        """Numbers of the items on the next topic."""
        found = await self.broker.read(self.broker.prefix + ECHOES.name)
        return [decode(Item, delivery.value).number for delivery in found]

    async def letters(self) -> list[DeadLetter]:
        """Dead letters."""
        found = await self.broker.read(self.broker.prefix + DEAD_LETTERS.name)
        return [decode(DeadLetter, delivery.value) for delivery in found]

    async def committed(self, group: str = "workers") -> int:
        """Sum of the committed offsets."""
        committed = await self.broker.committed(group, self.broker.prefix + ITEMS.name)
        return sum(committed.values())

    async def close(self) -> None:
        """Stop what still runs."""
        for member in self.members:
            if not member.task.done():
                await member.stop()


async def run_stage(
    broker: MemoryBroker,
    work: Callable[..., Any],
    topic: Topic,
    to: Topic,
    *,
    settings: LoopSettings,
    within_s: float,
) -> None:
    """Run a stage until each message of ``topic`` has an output or a dead letter."""
    loop = StreamLoop(
        MemorySource(broker, topic.name, [topic.name]),
        MemorySender(broker),
        work,
        stage="test",
        topic=topic,
        settings=settings,
        probe=CountingProbe(),
    )
    running = asyncio.create_task(loop.run())

    def settled() -> bool:
        ends = len(broker.topic(to.name)) + len(broker.topic(DEAD_LETTERS.name))
        return running.done() or ends >= len(broker.topic(topic.name))

    await eventually(settled, within_s)
    loop.stop()
    await running
