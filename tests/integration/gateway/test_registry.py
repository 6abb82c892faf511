"""Workers of other versions report to the same registry."""

from __future__ import annotations

import orjson
import pytest
from redis.asyncio import Redis

from promptmill.core.telemetry.registry import read_workers, registry_key
from promptmill_schemas import SCHEMA_VERSION

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
