"""10,000 hostile messages on each topic: each has its outcome, no worker ends."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest
import structlog
from aiokafka import AIOKafkaProducer

from promptmill.kafka.consumer import KafkaSource
from promptmill.kafka.sender import KafkaSender
from promptmill.lake.identity import Identity
from promptmill.lake.ports import TableName
from promptmill.lake.sink import DeltaSink
from promptmill.lake.tables import TABLES
from promptmill.store.flushing import SinkPublisher
from promptmill.store.limits import SinkLimits
from promptmill.store.service import dead_letter_sender
from promptmill.store.sink_loop import SinkLoop
from promptmill.stream.loop import StreamLoop
from promptmill.stream.outcome import Drop, Outcome
from promptmill_schemas import Contract, DeadLetter, Topic, decode
from promptmill_schemas.topics import COMPLETIONS, DEAD_LETTERS, PROMPTS, SCORED
from support.kafka_topics import TopicReader, make_topics
from support.nasty import nasty_messages
from support.sink_loop import Noted
from support.streams import QUICK, CountingProbe
from support.waiting import eventually

pytestmark = [pytest.mark.real, pytest.mark.timeout(1200)]

COUNT = 10_000
PARTITIONS = 2
PATIENCE_S = 500.0
GROWTH_BYTES = 60_000_000
"""Between one half and both; each refused message that was kept for good would add 30 KB."""
LONGEST_S = 2.0
KINDS = {"prompts": "prompt", "completions": "completion", "scored": "scored"}
KINDS |= {"records": "record", "rejects": "reject", "dead-letters": "dead-letter"}


async def publish(bootstrap: str, topic: str, kind: str, count: int, seed: int) -> None:
    """Put such messages on the topic, as a foreign producer can."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, max_request_size=2**24) as producer:
        for number, (key, value) in enumerate(nasty_messages(kind, count, seed)):
            some = b"" if value is None and key is None else key  # the client's own rule
            await producer.send(topic, value, some, partition=number % PARTITIONS)
        await producer.flush()


async def until(running: asyncio.Task[None], condition: Callable[[], bool]) -> None:
    """Wait for the condition or for the end of the loop."""
    await eventually(lambda: running.done() or condition(), PATIENCE_S)


def _is_settled(probe: CountingProbe, count: int) -> bool:
    return probe.outcomes.total() == count


def memory() -> int:
    """Bytes that the process needs: without what its allocators keep for later."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
    return int(psutil.Process().memory_info().rss)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """A line for each of 70,000 dead letters is of no use."""
    level = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=level)
    yield
    structlog.reset_defaults()


@pytest.fixture
def reading_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long each message took to be read, in seconds of its thread."""
    taken: list[float] = []

    def timed(contract: type[Contract], raw: bytes | None) -> Contract:
        began = time.thread_time()
        try:
            return decode(contract, raw)
        finally:
            taken.append(time.thread_time() - began)

    monkeypatch.setattr("promptmill.stream.attempts.decode", timed)
    monkeypatch.setattr("promptmill.store.plan.decode", timed)
    return taken


async def drop(_contract: Any) -> Outcome:
    """Work that takes everything."""
    return Drop("read")


@pytest.mark.parametrize("topic", [PROMPTS, COMPLETIONS, SCORED], ids=lambda topic: topic.name)
async def test_each_hostile_message_of_a_stage_has_an_outcome(
    kafka: str, unique: str, topic: Topic, reading_s: list[float]
) -> None:
    names = [unique + topic.name, unique + DEAD_LETTERS.name]
    await make_topics(kafka, names, PARTITIONS)
    probe = CountingProbe()
    loop = StreamLoop(
        KafkaSource(kafka, unique, names[:1], client_id="hostile"),
        KafkaSender(kafka, client_id="hostile", delivery_timeout_s=60.0),
        drop,
        stage="instruct",
        topic=topic,
        settings=replace(QUICK, slots=64, prefetch=256, commit_interval_s=0.2),
        probe=probe,
        prefix=unique,
    )
    running = asyncio.create_task(loop.run())
    held = []
    for half, done in ((1, COUNT // 2), (2, COUNT)):
        await publish(kafka, names[0], KINDS[topic.name], COUNT // 2, seed=half)
        await until(running, partial(_is_settled, probe, done))
        held.append(memory())
    loop.stop()
    await running
    letters = await TopicReader(kafka, PARTITIONS).read(names[1])
    places = {(each.partition, each.offset) for each in (_letter(d.value) for d in letters)}
    assert probe.outcomes.total() == COUNT
    assert len(places) == len(letters) == COUNT - probe.outcomes["drop:read"]
    assert 0 < probe.outcomes["drop:read"] < COUNT / 2
    assert probe.retries == Counter()
    print(f"holds {held[0] >> 20} MiB after one half, {held[1] >> 20} after both")
    assert held[1] - held[0] < GROWTH_BYTES
    assert max(reading_s) < LONGEST_S


def _letter(raw: bytes | None) -> DeadLetter:
    return decode(DeadLetter, raw)


async def test_each_hostile_message_of_the_store_has_a_row_or_a_reason(
    kafka: str, unique: str, tmp_path: Path, reading_s: list[float]
) -> None:
    tables = {unique + spec.topic.name: name for name, spec in TABLES.items()}
    await make_topics(kafka, list(tables), PARTITIONS)
    identities = {name: Identity("c", topic, PARTITIONS) for topic, name in tables.items()}
    sender = KafkaSender(kafka, client_id="hostile", delivery_timeout_s=60.0)
    await sender.start()
    loop = SinkLoop(
        KafkaSource(kafka, unique, list(tables), client_id="hostile"),
        DeltaSink(str(tmp_path), identities),
        tables,
        SinkPublisher(dead_letter_sender(sender, unique)),
        probe=Noted(),
        limits=SinkLimits(compact_commits=0),
    )
    running = asyncio.create_task(loop.run())
    held = []
    for half, done in ((1, COUNT // 2), (2, COUNT)):
        for topic, table in tables.items():
            kind = KINDS[TABLES[table].topic.name]
            await publish(kafka, topic, kind, COUNT // 2, seed=half)
        await until(running, partial(_is_stored, loop.counts, done))
        held.append(memory())
    loop.stop()
    await running
    await sender.stop()
    assert _is_stored(loop.counts, COUNT)
    print(f"holds {held[0] >> 20} MiB after one half, {held[1] >> 20} after both")
    assert held[1] - held[0] < GROWTH_BYTES
    assert max(reading_s) < LONGEST_S


def _is_stored(counts: Counter[tuple[TableName, str]], each: int) -> bool:
    """Whether every message has an outcome, those that the store dead-lettered twice."""
    totals = Counter[TableName]()
    for (table, _), count in counts.items():
        totals[table] += count
    undecodable = sum(counts[t, "undecodable"] for t in (TableName.RECORDS, TableName.REJECTS))
    wanted = dict.fromkeys(TableName, each) | {TableName.DEAD_LETTERS: each + undecodable}
    return totals == wanted
