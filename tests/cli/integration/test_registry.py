"""What workers say of themselves in the registry, also those of other versions."""

from __future__ import annotations

import asyncio
import time

import orjson
import pytest
from redis.asyncio import Redis

from promptmill.runtime.telemetry.health import Health
from promptmill.runtime.telemetry.metrics import StageMetrics
from promptmill.runtime.telemetry.registry import read_workers, registry_key
from promptmill.store.settings import StoreSettings
from promptmill.stream.ports import Partition
from promptmill.worker.lifecycle import Worker, registration
from promptmill_schemas import SCHEMA_VERSION
from support.waiting import eventually

pytestmark = pytest.mark.real


async def test_entries_of_other_versions_are_read_as_far_as_they_are_understood(
    redis_url: str, unique: str
) -> None:
    entries: dict[str, bytes] = {
        "newer": orjson.dumps(
            {
                "stage": "store",
                "id": "newer",
                "schema_version": SCHEMA_VERSION + 1,
                "rate": 3,
                "mood": {"good": True},
            }
        ),
        "older": orjson.dumps({"stage": "store", "id": "older", "rate": 1.5}),
        "nothing": b"{}",
        "list": b"[]",
        "bytes": b"\xff",
        "deep": b"[" * 5000,
        "types": orjson.dumps({"stage": "store", "id": "x", "in_flight": "many"}),
    }
    redis: Redis = Redis.from_url(redis_url)
    try:
        for identity, entry in entries.items():
            await redis.set(registry_key(unique, identity), entry)
    finally:
        await redis.aclose()
    found = {worker.id: worker for worker in await read_workers(redis_url, unique)}
    assert found.keys() == {"newer", "older"}
    assert found["newer"].schema_version == SCHEMA_VERSION + 1
    assert (found["older"].schema_version, found["older"].rate) == (0, 1.5)
    assert (found["newer"].partitions, found["newer"].is_idle) == (-1, False)


class Loop:
    """A loop that holds these partitions."""

    in_flight = waiting = 0

    def __init__(self, *assigned: Partition) -> None:
        self.joined = asyncio.Event()
        self.assigned = assigned

    def stop(self, deadline: object = None) -> None: ...

    async def run(self) -> None: ...


@pytest.mark.parametrize("count", [0, 3])
async def test_a_worker_says_how_many_partitions_it_holds(
    redis_url: str, unique: str, count: int
) -> None:
    settings = StoreSettings(redis=redis_url, topic_prefix=unique)
    worker = Worker(Loop(*(Partition("records", number) for number in range(count))))
    metrics, health = StageMetrics("store", time.monotonic), Health(lambda: "")
    health.set_ready()
    async with registration(settings, worker, metrics, health, "http://here"):
        (found,) = await eventually(lambda: read_workers(redis_url, unique))
    assert (found.partitions, found.is_idle) == (count, count == 0)
