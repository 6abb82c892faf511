"""Two workers with one instance id: the place in the group can have only one of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from promptmill.kafka.consumer import KafkaSource
from promptmill.runtime.errors import Misconfigured
from promptmill.stream.outcome import Outcome
from support.chaos.loop_brokers import OnKafka, harness_on
from support.streams import QUICK, Harness, Item, echo
from support.waiting import eventually

pytestmark = pytest.mark.real

COUNT = 160
WITHIN_S = 60


class OneIdForAll(OnKafka):
    """Members that all have the same instance id, as replicas with the same environment."""

    def source(self, group: str, topic: str) -> KafkaSource:
        return KafkaSource(
            self.bootstrap,
            f"{self.prefix}{group}",
            [topic],
            client_id="t",
            session_timeout_ms=30_000,
            instance_id="same",
        )


@pytest.fixture
async def harness(kafka: str, unique: str) -> AsyncIterator[Harness]:
    async with harness_on(OneIdForAll(kafka, f"{unique}.")) as harness:
        yield harness


async def test_the_worker_whose_place_is_taken_ends_and_the_other_goes_on(harness: Harness) -> None:
    """Otherwise both take the place from each other, and do all work again and again."""
    begun: Counter[int] = Counter()

    async def work(item: Item) -> Outcome:
        begun[item.number] += 1
        await asyncio.sleep(0.1)
        return await echo(item)

    await harness.publish(*(Item(number=number) for number in range(COUNT)))
    first = await harness.member(work)
    await eventually(lambda: begun.total() > 0, WITHIN_S)
    second = await harness.member(work)
    with pytest.raises(Misconfigured, match=r"another process has joined .* instance_id 'same'"):
        await asyncio.wait_for(first.task, WITHIN_S)

    async def all_done() -> bool:
        return await harness.committed() == COUNT

    await eventually(all_done, WITHIN_S)
    await second.stop()
    assert begun.total() <= COUNT + 2 * QUICK.slots
