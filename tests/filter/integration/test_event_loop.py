"""A filter rebuilds its claims beside its polling: no call blocks its event loop."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from promptmill.dedup.redis import RedisDedupStore
from promptmill.filter.data_set import DataSet
from promptmill.filter.published import PublishedDecisions
from promptmill.filter.recovery import RecoveringClaims
from promptmill.lake.identity import Identity
from promptmill.lake.ports import TableName
from promptmill.lake.tables import TABLES
from promptmill.runtime.telemetry.health import Health, HealthServer
from promptmill.runtime.telemetry.metrics import StageMetrics
from promptmill.runtime.telemetry.registry import Registration, WorkerInfo, read_workers
from promptmill_schemas import encode
from support.kafka_topics import make_topics, put
from support.loop_watch import watched_loop
from support.stack import flush
from support.store import DeltaStore, record, reject, rows
from support.waiting import eventually

pytestmark = pytest.mark.real

STORED, REPLAYED, WITHOUT_KEY, REJECTED, IN_FRONT = 100_000, 4_000, 2_000, 20_000, 2_000
"""Rows of a table in blocks, merged one by one, read by their texts; rejects; on the topic."""

DISTINCT = {
    TableName.RECORDS: ("record_id", "prompt_id", "decision_id", "content_key_2"),
    TableName.REJECTS: ("prompt_id", "decision_id"),
}


def ids(chance: np.random.Generator, count: int) -> pa.Array:
    """Ids that nobody else has."""
    return pa.array([chance.bytes(16).hex() for _ in range(count)])


def many(table: TableName, count: int, chance: np.random.Generator) -> pa.Table:
    """Rows that differ in their ids only."""
    of = record("one") if table is TableName.RECORDS else reject("one")
    made = rows([(0, 0, of)], table).take(np.zeros(count, np.int64))
    for column in DISTINCT[table]:
        made = replaced(made, column, ids(chance, count))
    return made


def replaced(table: pa.Table, column: str, values: pa.Array) -> pa.Table:
    """The table with other values in this column."""
    at = table.schema.get_field_index(column)
    field = table.schema[at]
    return table.set_column(at, field, values.cast(field.type))


def tables() -> Iterator[tuple[TableName, pa.Table]]:
    """What the store holds."""
    chance = np.random.default_rng(7)
    yield TableName.RECORDS, many(TableName.RECORDS, STORED, chance)
    replays = many(TableName.RECORDS, REPLAYED, chance)
    yield TableName.RECORDS, replaced(replays, "replays", pa.array([1] * REPLAYED))
    texts = [(0, n, record(f"earlier {n}")) for n in range(WITHOUT_KEY)]
    without = pa.nulls(WITHOUT_KEY, pa.string())
    yield TableName.RECORDS, replaced(rows(texts), "content_key_2", without)
    yield TableName.REJECTS, many(TableName.REJECTS, REJECTED, chance)


@pytest.fixture
async def store(kafka: str, unique: str, tmp_path: Path) -> Path:
    """Full tables, and records on the topic that the tables do not hold."""
    names = {table: f"{unique}.{spec.topic.name}" for table, spec in TABLES.items()}
    await make_topics(kafka, list(names.values()), 1)
    DeltaStore(tmp_path).sink({table: Identity("c", name, 1) for table, name in names.items()})
    for table, made in tables():
        write_deltalake(str(tmp_path / table), made, mode="append")
    in_front = (encode(record(f"in front {n}")) for n in range(IN_FRONT))
    await put(kafka, names[TableName.RECORDS], 0, ((b"key", value) for value in in_front))
    return tmp_path


async def probe(url: str) -> None:
    """As an orchestrator and a Prometheus do."""
    async with aiohttp.ClientSession() as client:
        for path in ("/health/live", "/health/ready", "/metrics"):
            async with client.get(url + path) as answer:
                await answer.read()


async def test_rebuilds_probes_and_the_registry_leave_the_loop_free(
    kafka: str, redis_url: str, unique: str, store: Path
) -> None:
    data_set = DataSet(str(store), f"{unique}.")
    published = PublishedDecisions(data_set, kafka, f"{unique}.")
    everything = STORED + REPLAYED + WITHOUT_KEY + REJECTED
    metrics, info = StageMetrics("filter", time.monotonic), WorkerInfo("filter", unique)
    with watched_loop():
        dedup_store = RedisDedupStore(
            redis_url, await data_set.wait(), expected_records=1000, settle_s=0.0
        )
        async with (
            HealthServer(Health(), metrics) as health,
            Registration(redis_url, unique, info, lambda: info),
            RecoveringClaims(dedup_store, published, count=published.count) as claims,
        ):
            assert await published.count() == everything
            await eventually(lambda: claims.usable)
            flush(redis_url)  # as a restart of Redis does
            await eventually(lambda: claims.recovering)
            while claims.recovering:
                await probe(health.url)
            await eventually(lambda: claims.usable)
            assert [worker.id for worker in await read_workers(redis_url, unique)] == [unique]
            assert await dedup_store.is_complete()
