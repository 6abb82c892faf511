"""Members that come, go, freeze and fight over shards: every message is stored exactly once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from promptmill.lake.ports import Sink
from promptmill.lake.tables import TABLES
from support.fake_source import Log, every_partition
from support.mixed_log import ends_of, make_mixed_log
from support.sink_loop import QUICK, Member, member
from support.store import PARTITIONS, DeltaStore, SharedStore
from support.store_audit import Holdings, audit, read_delta
from support.waiting import eventually

MEMBERS = 3


class Churn:
    """Moves shards between members by chance; some moves leave the earlier owner unaware."""

    def __init__(self, members: list[Member], rng: random.Random) -> None:
        self.members = members
        self.rng = rng

    async def move(self) -> None:
        """One shard to another member."""
        shard, taker = self.rng.randrange(PARTITIONS), self.rng.choice(self.members)
        is_unaware = self.rng.random() < 0.4
        for other in self.members:
            owns = bool(set(every_partition(shard)) & set(other.loop.assigned))
            if other is not taker and owns and not is_unaware:
                await other.source.revoke(every_partition(shard))
        await taker.source.assign(every_partition(shard))

    async def settle(self) -> None:
        """Every shard to exactly one member."""
        for each in self.members:
            if each.loop.assigned:
                await each.source.revoke(each.loop.assigned)
        for shard in range(PARTITIONS):
            await self.members[shard % MEMBERS].source.assign(every_partition(shard))


async def churn(make_sink: Callable[[], Sink], log: Log, rng: random.Random, moves: int) -> None:
    """Store the whole log with members that are disturbed so often."""
    limits = replace(QUICK, flush_rows=25, revoke_budget_s=0.05)
    async with AsyncExitStack() as stack:
        members = [
            await stack.enter_async_context(member(log, make_sink(), limits))
            for _ in range(MEMBERS)
        ]
        disturbed = Churn(members, rng)
        for _ in range(moves):
            await disturbed.move()
            await asyncio.sleep(rng.random() * 0.02)
        await disturbed.settle()
        await eventually(lambda: _is_told(log), 60)


def _is_told(log: Log) -> bool:
    ends = {partition: log.end(partition) for partition in log.messages}
    return all(log.committed.get(partition) == end for partition, end in ends.items())


def read_memory(store: SharedStore, log: Log) -> Holdings:
    """What a store in memory holds."""
    tables = {spec.topic.name: name for name, spec in TABLES.items()}
    positions = {
        (topic, shard): store.memory.tables[tables[topic]].positions.get(shard, 0)
        for topic, shard in log.messages
    }
    return Holdings({topic: store.rows(name) for topic, name in tables.items()}, positions)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
async def test_disturbed_members_store_each_message_once(seed: int) -> None:
    rng = random.Random(seed)
    log, expected = make_mixed_log(400)
    store = SharedStore()

    def make_sink() -> Sink:
        return store.sink(step=lambda _step: store.fail_by_chance(rng, 0.02))

    await churn(make_sink, log, rng, moves=40)
    audit(read_memory(store, log), expected, ends_of(log))


@pytest.mark.real
@pytest.mark.parametrize("seed", range(2))
async def test_disturbed_members_store_each_message_once_on_delta(
    seed: int, tmp_path: Path
) -> None:
    rng = random.Random(seed)
    log, expected = make_mixed_log(300)
    await churn(DeltaStore(tmp_path).sink, log, rng, moves=25)
    audit(read_delta(tmp_path, ends_of(log)), expected, ends_of(log))
