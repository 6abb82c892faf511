"""A topic that is deleted, created again and refilled under a running worker, on Apache Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest

from promptmill.runtime.errors import Misconfigured
from support.chaos.rigs import OnKafka
from support.kafka_topics import delete_topics, make_topics, while_frozen
from support.streams import ECHOES, ITEMS, Item, Rig
from support.waiting import PATIENCE_S, eventually

pytestmark = pytest.mark.real

BEFORE, AFTER = 5, 20


@pytest.fixture
async def rig(kafka: str, unique: str) -> AsyncIterator[Rig]:
    broker = OnKafka(kafka, f"{unique}.", partitions=1)
    names = [broker.prefix + topic for topic in (ITEMS.name, ECHOES.name, "dead-letters")]
    await make_topics(kafka, names, 1)
    rig = Rig(broker)
    yield rig
    await rig.close()


async def stands_at(rig: Rig, count: int) -> bool:
    """Whether the group has committed this, in the topic's one partition."""
    return await rig.committed() == count


async def test_a_topic_recreated_under_a_running_worker_ends_it_and_nothing_is_skipped(
    kafka: str, rig: Rig
) -> None:
    topic = rig.broker.prefix + ITEMS.name
    await rig.publish(*(Item(number=n) for n in range(BEFORE)))
    member = await rig.member()
    await eventually(partial(stands_at, rig, BEFORE))

    async def recreate() -> None:
        await delete_topics(kafka, [topic])
        await make_topics(kafka, [topic], 1)
        await rig.publish(*(Item(number=BEFORE + n) for n in range(AFTER)))

    while_frozen(recreate)
    with pytest.raises(Misconfigured, match=rf"{topic} was deleted and created again"):
        async with asyncio.timeout(PATIENCE_S):
            await member.task
    assert await rig.committed() == 0
    await rig.member()
    await eventually(partial(stands_at, rig, AFTER))
    assert set(await rig.echoes()) == set(range(BEFORE + AFTER))
