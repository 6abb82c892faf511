"""A topic that is deleted, created again and refilled under a running worker, on Apache Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest

from promptmill.runtime.errors import Misconfigured
from support.chaos.loop_brokers import OnKafka, harness_on
from support.kafka_topics import delete_topics, make_topics, while_frozen
from support.streams import ITEMS, Harness, Item
from support.waiting import PATIENCE_S, eventually

pytestmark = pytest.mark.real

BEFORE, AFTER = 5, 20


@pytest.fixture
async def harness(kafka: str, unique: str) -> AsyncIterator[Harness]:
    async with harness_on(OnKafka(kafka, f"{unique}.", partitions=1)) as harness:
        yield harness


async def stands_at(harness: Harness, count: int) -> bool:
    """Whether the group has committed this, in the topic's one partition."""
    return await harness.committed() == count


async def test_a_topic_recreated_under_a_running_worker_ends_it_and_nothing_is_skipped(
    kafka: str, harness: Harness
) -> None:
    topic = harness.broker.prefix + ITEMS.name
    await harness.publish(*(Item(number=n) for n in range(BEFORE)))
    member = await harness.member()
    await eventually(partial(stands_at, harness, BEFORE))

    async def recreate() -> None:
        await delete_topics(kafka, [topic])
        await make_topics(kafka, [topic], 1)
        await harness.publish(*(Item(number=BEFORE + n) for n in range(AFTER)))

    while_frozen(recreate)
    with pytest.raises(Misconfigured, match=rf"{topic} was deleted and created again"):
        async with asyncio.timeout(PATIENCE_S):
            await member.task
    assert await harness.committed() == 0
    await harness.member()
    await eventually(partial(stands_at, harness, AFTER))
    assert set(await harness.echoes()) == set(range(BEFORE + AFTER))
