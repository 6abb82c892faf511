"""Commits that a broker refuses because of their metadata."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from promptmill.stream import offsets
from support.chaos.loop_brokers import OnKafka, harness_on
from support.streams import Harness, Item
from support.waiting import eventually

pytestmark = pytest.mark.real

COUNT = 20
WITHIN_S = 60


@pytest.fixture
async def harness(kafka: str, unique: str) -> AsyncIterator[Harness]:
    async with harness_on(OnKafka(kafka, f"{unique}.")) as harness:
        yield harness


async def test_a_map_that_is_too_large_for_the_broker_is_left_out(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``offset.metadata.max.bytes`` is 4096, unless a cluster has a lower limit."""
    monkeypatch.setattr(offsets, "encode_map", lambda *_: "x" * 5_000)
    await harness.publish(*(Item(number=number) for number in range(COUNT)))
    await harness.member()

    async def all_committed() -> bool:
        return await harness.committed() == COUNT

    await eventually(all_committed, WITHIN_S)
