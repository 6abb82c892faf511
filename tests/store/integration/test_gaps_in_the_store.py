"""Deliveries that skip offsets under a sink, on real Kafka and Delta Lake."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from promptmill.kafka.consumer import KafkaSource
from promptmill.lake.identity import Identity
from promptmill.lake.ports import TableName
from promptmill.lake.tables import TABLES
from promptmill.runtime.errors import Unavailable
from promptmill.store.plan import Undecodable
from promptmill.store.sink_loop import SinkLoop, SinkPublisher
from promptmill.stream.lost_records import LostRecords
from promptmill.stream.ports import Partition
from promptmill_schemas import encode
from support.kafka_topics import delete_up_to, make_topics
from support.sink_loop import QUICK, Noted
from support.store import CLUSTER, DeltaStore, record
from support.waiting import eventually

pytestmark = pytest.mark.real

PATIENCE_S = 90


class Forgetful(KafkaSource):
    """Bounds fail as often as a test says."""

    failures = 0

    async def bounds(
        self, partitions: Collection[Partition]
    ) -> Mapping[Partition, tuple[int, int]]:
        if self.failures:
            self.failures -= 1
            raise Unavailable("the leader is moving")
        return await super().bounds(partitions)

    def drop_to(self, partition: Partition, offset: int) -> None:
        """As aiokafka does that loses what it has drained: its position has moved on."""
        self._consumer.seek(TopicPartition(*partition), offset)


@dataclass
class PipelineUnderTest:
    """A running sink on topics of one partition."""

    kafka: str
    source: Forgetful
    loop: SinkLoop
    store: DeltaStore
    records: Partition
    running: asyncio.Task[None]

    async def send(self, *names: str, transaction: str | None = None) -> None:
        """Records of these names, one by one, each in a transaction of its own if wanted."""
        producer = AIOKafkaProducer(bootstrap_servers=self.kafka, transactional_id=transaction)
        await producer.start()
        try:
            for name in names:
                if transaction is None:
                    await producer.send_and_wait(self.records.topic, encode(record(name)))
                    continue
                async with producer.transaction():
                    await producer.send_and_wait(self.records.topic, encode(record(name)))
        finally:
            await producer.stop()

    def offsets(self) -> list[int]:
        """Of all rows."""
        return [row["shard_offset"] for row in self.store.rows(TableName.RECORDS)]

    async def stored(self, offsets: list[int]) -> None:
        """Wait until exactly these are."""
        await eventually(lambda: self.offsets() == offsets, PATIENCE_S)


async def never(undecodable_message: Undecodable) -> None:
    raise AssertionError(f"no message here is dead-lettered: {undecodable_message.detail}")


@asynccontextmanager
async def running(kafka: str, prefix: str, folder: Path) -> AsyncIterator[PipelineUnderTest]:
    topics = {f"{prefix}.{spec.topic.name}": name for name, spec in TABLES.items()}
    await make_topics(kafka, list(topics), 1)
    store = DeltaStore(folder)
    sink = store.sink({name: Identity(CLUSTER, topic, 1) for topic, name in topics.items()})
    source = Forgetful(
        kafka, f"{prefix}.store", list(topics), client_id="t", session_timeout_ms=6_000
    )
    loop = SinkLoop(source, sink, topics, SinkPublisher(never), probe=Noted(), limits=QUICK)
    task = asyncio.create_task(loop.run())
    await eventually(lambda: loop.joined.is_set() or task.done(), PATIENCE_S)
    part = Partition(f"{prefix}.records", 0)
    try:
        yield PipelineUnderTest(kafka, source, loop, store, part, task)
    finally:
        loop.stop()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("failures", [0, 3])
async def test_what_the_client_drops_is_stored_all_the_same(
    kafka: str, unique: str, tmp_path: Path, failures: int
) -> None:
    async with running(kafka, unique, tmp_path) as pipeline:
        await pipeline.send("a", "b")
        await pipeline.stored([0, 1])
        pipeline.source.pause([pipeline.records])
        await pipeline.send("c", "d", "e", "f")
        pipeline.source.failures = failures
        pipeline.source.drop_to(pipeline.records, 4)
        pipeline.source.resume([pipeline.records])
        await pipeline.stored([0, 1, 2, 3, 4, 5])


async def test_markers_of_transactions_are_passed(kafka: str, unique: str, tmp_path: Path) -> None:
    async with running(kafka, unique, tmp_path) as pipeline:
        await pipeline.send("a", "b", transaction=unique)
        await pipeline.send("c")
        await pipeline.stored([0, 2, 4])


async def test_retention_that_overtakes_a_sink_ends_it_and_stores_nothing_beyond(
    kafka: str, unique: str, tmp_path: Path
) -> None:
    async with running(kafka, unique, tmp_path) as pipeline:
        await pipeline.send("a", "b")
        await pipeline.stored([0, 1])
        pipeline.source.pause([pipeline.records])
        await pipeline.send("c", "d", "e", "f")
        await delete_up_to(kafka, pipeline.records, 4)
        pipeline.source.failures = 3
        pipeline.source.resume([pipeline.records])
        # A fetch that was in flight at the pause may have brought the record at offset 2. It is
        # then stored, and is not among the lost.
        with pytest.raises(LostRecords, match=r"records-0: offsets [23] to 3") as raised:
            await asyncio.wait_for(pipeline.running, PATIENCE_S)
        first_lost = 2 if "offsets 2" in str(raised.value) else 3
        assert pipeline.offsets() == list(range(first_lost))
