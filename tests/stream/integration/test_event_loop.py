"""A worker polls while it reads and writes messages of 1 MiB: no call blocks its event loop."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import orjson
import pytest

from promptmill_schemas.limits import MAX_PROMPT_BYTES
from support.chaos.loop_brokers import OnKafka, harness_on
from support.loop_watch import watched_loop
from support.streams import Harness
from support.waiting import eventually

pytestmark = pytest.mark.real

LARGE, SMALL = 12, 100
CODEC = "AbortableProducer._tracked"
"""The client compresses on the loop: 26 ms for 1 MiB with lz4, of up to a batch a partition."""

LETTERS = '"\\\nabcdefghijklmnopqrstuvwxyzäöü '


@pytest.fixture
async def harness(kafka: str, unique: str) -> AsyncIterator[Harness]:
    async with harness_on(OnKafka(kafka, f"{unique}.")) as harness:
        yield harness


def message(number: int, size: int) -> bytes:
    """An item of about so many bytes, which no codec makes much smaller."""
    text = "".join(random.Random(number).choices(LETTERS, k=size * 5 // 6))
    return orjson.dumps({"number": number, "text": text})


async def test_large_prompts_leave_the_loop_free(harness: Harness) -> None:
    large = [message(n, MAX_PROMPT_BYTES) for n in range(LARGE)]
    broken = [value[:-1] for value in large]
    await harness.publish_raw(*large, *broken, *(message(LARGE + n, 1024) for n in range(SMALL)))
    with watched_loop(ignored=CODEC):
        member = await harness.member()
        await eventually(lambda: member.probe.outcomes.total() == 2 * LARGE + SMALL, 120)
        await member.stop()
    assert sorted(await harness.echoes()) == list(range(LARGE + SMALL))
    assert len(await harness.letters()) == LARGE
