"""Rows 13 and 14: the only broker is bounced, or is silent for longer than a request may take."""

from __future__ import annotations

import asyncio

import pytest

from promptmill.core.errors import Unavailable
from promptmill.core.stream.kafka.sender import KafkaSender
from support.chaos.plant import Plant
from support.chaos.site import Site
from support.chaos.topic_log import RECORDS

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.chaos,
    pytest.mark.real,
    pytest.mark.timeout(240),
]

RECOVERED_WITHIN_S = 60


@pytest.mark.parametrize("how", ["hard", "clean"])
async def test_13_broker_bounced(plant: Plant, how: str) -> None:
    cluster = plant.site.servers.kafka
    plant.hire("instruct", 2, model="latency_s=0.05,sigma=1.0,tokens=20")
    await plant.ready()
    async with plant.flow(f"row-13-{how}", per_s=30):
        await plant.advance("instruct", 20)
        if how == "hard":
            await asyncio.to_thread(cluster.kill, 1)
        await asyncio.to_thread(cluster.restart, 1)
        for stage in ("instruct", "reward", "filter"):
            await plant.advance(stage, 5, within_s=RECOVERED_WITHIN_S)
    await plant.books(within_s=120)


async def test_14_a_broker_silent_for_longer_than_a_request_may_take(site: Site) -> None:
    """The producer is replaced, and the caller's next try succeeds."""
    cluster = site.servers.kafka
    plant = Plant(site, "row-14.")
    async with plant.running():
        sender = KafkaSender(site.kafka, client_id="chaos", delivery_timeout_s=2.0)
        await sender.start()
        await sender.send(plant.prefix + RECORDS, b"k", b"before")
        await asyncio.to_thread(cluster.pause, 1)
        sending = asyncio.create_task(sender.send(plant.prefix + RECORDS, b"k", b"during"))
        await asyncio.wait([sending], timeout=6)
        await asyncio.to_thread(cluster.resume, 1)
        with pytest.raises(Unavailable):
            await sending
        async with asyncio.timeout(30):
            while True:
                try:
                    await sender.send(plant.prefix + RECORDS, b"k", b"after")
                    break
                except Unavailable:
                    await asyncio.sleep(0.2)
        assert sender.replaced >= 1
        await sender.stop()
