"""A sink's loop under test, with what it reads from and writes to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from promptmill.lake.ports import Sink, TableName
from promptmill.lake.tables import TABLES
from promptmill.store.limits import SinkLimits
from promptmill.store.plan import Undecodable
from promptmill.store.sink_loop import SinkLoop, SinkPublisher
from promptmill.stream.layout import DataSetLayout
from promptmill.stream.lost_records import Gap
from promptmill.stream.ports import Delivery, Partition
from support.fake_source import FakeSource, Log, every_partition
from support.store import AnyStore
from support.waiting import eventually

TOPICS = {spec.topic.name: name for name, spec in TABLES.items()}
QUICK = SinkLimits(
    flush_delay_s=0.02, backoff_initial_s=0.01, backoff_max_s=0.05, revoke_budget_s=2, grace_s=5
)


@dataclass
class Noted:
    """A probe that keeps what it is told."""

    done: int = 0
    retries: list[str] = field(default_factory=list)

    def count_done(self, records: int) -> None:
        """So many messages are settled."""
        self.done += records

    def retried(self, reason: str) -> None:
        """Something failed and will be tried again."""
        self.retries.append(reason)


@dataclass
class Member:
    """One sink in its group: source, writer, loop."""

    source: FakeSource
    loop: SinkLoop
    probe: Noted
    dead_lettered: list[Delivery]
    running: asyncio.Task[None]

    async def assign(self, *shards: int) -> None:
        """Give it these shards, all when none is named, and wait until they are taken over."""
        partitions = every_partition(*shards)
        await self.source.assign(partitions)
        await eventually(lambda: not self.source.paused & set(partitions))

    async def stop(self) -> None:
        """Drain and end; raises what ended it."""
        self.loop.stop()
        await self.running


@asynccontextmanager
async def member(
    log: Log,
    sink: Sink,
    limits: SinkLimits = QUICK,
    accepted: Collection[Gap] = (),
    layout: DataSetLayout | None = None,
    acknowledged: Callable[[], Awaitable[object]] | None = None,
) -> AsyncIterator[Member]:
    """A running loop without partitions, stopped at the end.

    Args:
        acknowledged: returns when the broker has acknowledged a dead letter.
    """
    source, probe, dead_lettered = FakeSource(log), Noted(), list[Delivery]()

    async def send_dead_letter(undecodable_message: Undecodable) -> None:
        if acknowledged is not None:
            await acknowledged()
        dead_lettered.append(undecodable_message.delivery)

    async def read_accepted() -> Collection[Gap]:
        return accepted

    async def move(delivery: Delivery, key: bytes) -> None:
        assert layout is not None
        topic = delivery.partition.topic
        log.put_raw(Partition(topic, layout.partition_of(key)), delivery.value)

    loop = SinkLoop(
        source,
        sink,
        TOPICS,
        SinkPublisher(send_dead_letter, layout, move),
        probe=probe,
        limits=limits,
        accepted=read_accepted,
    )
    running = asyncio.create_task(loop.run())
    await eventually(lambda: source.is_running or running.done())
    try:
        yield Member(source, loop, probe, dead_lettered, running)
    finally:
        loop.stop()
        await asyncio.gather(running, return_exceptions=True)


def offsets(store: AnyStore, table: TableName) -> dict[int, list[int]]:
    """The offsets of all rows, by shard."""
    found: dict[int, list[int]] = {}
    for row in store.rows(table):
        found.setdefault(row["shard"], []).append(row["shard_offset"])
    return found


def stored(store: AnyStore, table: TableName, column: str = "prompt_id") -> list[str]:
    """All values of a column, sorted; duplicates show."""
    return sorted(row[column] for row in store.rows(table))


def topics(partitions: Iterable[Partition]) -> set[str]:
    """Their topics."""
    return {partition.topic for partition in partitions}
