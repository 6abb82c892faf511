"""Topics of a test's own on a real broker, read back without any code under test."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewPartitions, NewTopic, RecordsToDelete
from aiokafka.errors import GroupCoordinatorNotAvailableError
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from promptmill.kafka.client import open_admin
from promptmill.stream.ports import Delivery, Partition

Pairs: TypeAlias = Iterable[tuple[bytes | None, bytes]]


async def make_topics(bootstrap: str, names: Sequence[str], partitions: int) -> None:
    """Create topics that do not exist yet."""
    async with open_admin(bootstrap) as admin:
        missing = set(names) - set(await admin.list_topics())
        topics = [
            NewTopic(n, partitions, 1, topic_configs={"max.message.bytes": "16000000"})
            for n in missing
        ]
        if topics:
            await admin.create_topics(topics)


async def delete_topics(bootstrap: str, names: Sequence[str]) -> None:
    """Delete topics; returns when the broker knows them no more."""
    async with open_admin(bootstrap) as client:
        await client.delete_topics(list(names))
        while True:
            if set(names).isdisjoint(await client.list_topics()):
                return
            await asyncio.sleep(0.05)


def while_frozen(act: Callable[[], Coroutine[None, None, None]]) -> None:
    """Do it on a loop of another thread; nothing runs on this one until it is done.

    To a broker that looks like a process that is stopped for a moment: whoever consumes here
    sees what was before and what is after, and nothing in between.
    """
    with ThreadPoolExecutor(1) as beside:
        beside.submit(lambda: asyncio.run(act())).result()


async def add_partitions(bootstrap: str, names: Sequence[str], partitions: int) -> None:
    """Let topics have so many partitions; returns when each of them has a leader."""
    async with open_admin(bootstrap) as client:
        await client.create_partitions({name: NewPartitions(partitions) for name in names})
        while True:
            topics = await client.describe_topics(list(names))
            found = [p for topic in topics for p in topic["partitions"] if p["leader"] >= 0]
            if len(found) == partitions * len(names):
                return
            await asyncio.sleep(0.05)


async def put(
    bootstrap: str,
    topic: str,
    partition: int,
    messages: Pairs,
    headers: Sequence[tuple[str, bytes | None]] = (),
) -> None:
    """Publish keys and values to one partition, as a foreign producer can."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        for key, value in messages:
            await producer.send_and_wait(topic, value, key, partition, headers=[*headers])


def record_batch(headers: Iterable[list[tuple[str, bytes]]]) -> bytes:
    """Encode a batch from offset 0 with a record for each list of headers."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 20,
    )
    for number, each in enumerate(headers):
        builder.append(number, 1_000, b"key", b"value %d" % number, each)
    return bytes(builder.build())


def with_invalid_names(raw: bytes, *, gzipped: bool = False) -> bytes:
    """An encoded batch in which four question marks are bytes that are not UTF-8.

    Args:
        raw: the batch, not compressed.
        gzipped: compress its records.
    """
    records = raw[61:].replace(b"????", b"\xff\xfe\xfd\xfc")
    attributes = raw[21:23]
    if gzipped:
        records, attributes = gzip.compress(records), b"\0\1"
    checked = attributes + raw[23:61] + records
    length = (9 + len(checked)).to_bytes(4, "big")
    crc: int = calc_crc32c(checked)
    return raw[:8] + length + raw[12:17] + crc.to_bytes(4, "big") + checked


async def put_with_invalid_name(bootstrap: str, topic: str, key: bytes, value: bytes) -> None:
    """Publish to partition 0 with a header whose name is not UTF-8."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        batch = producer.create_batch()
        batch.append(key=key, value=value, timestamp=None, headers=[("????", b"x")])
        batch._buffer = with_invalid_names(bytes(batch._build()))
        await (await producer.send_batch(batch, topic, partition=0))


async def delete_up_to(bootstrap: str, partition: Partition, first: int) -> None:
    """As retention does: the log begins at ``first`` from now on."""
    async with open_admin(bootstrap) as client:
        await client.delete_records({TopicPartition(*partition): RecordsToDelete(first)})


class TopicReader:
    """Reads whole topics and committed offsets."""

    def __init__(self, bootstrap: str, partitions: int) -> None:
        self._bootstrap = bootstrap
        self._count = partitions

    async def read(self, topic: str) -> list[Delivery]:
        """Everything on the topic now."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap, fetch_max_wait_ms=50)
        await consumer.start()
        try:
            partitions = await self._partitions(consumer, topic)
            consumer.assign(partitions)
            end = await consumer.end_offsets(partitions)
            found: list[Delivery] = []
            for partition, first in (await consumer.beginning_offsets(partitions)).items():
                consumer.seek(partition, first)
            while any([await consumer.position(p) < end[p] for p in partitions]):
                for p, records in (await consumer.getmany(timeout_ms=100)).items():
                    found += [
                        Delivery(Partition(*p), r.offset, r.key, r.value, r.timestamp, r.headers)
                        for r in records
                        if r.offset < end[p]
                    ]
            return sorted(found, key=lambda d: (d.partition, d.offset))
        finally:
            await consumer.stop()

    async def _partitions(self, consumer: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
        while len(numbers := consumer.partitions_for_topic(topic) or ()) < self._count:
            consumer._client.add_topic(topic)
            await consumer._client.force_metadata_update()
            await asyncio.sleep(0.05)
        return [TopicPartition(topic, number) for number in sorted(numbers)]

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        """Committed offsets by partition."""
        try:
            async with open_admin(self._bootstrap) as admin:
                offsets = await admin.list_consumer_group_offsets(group)
        except GroupCoordinatorNotAvailableError:
            return {}  # the broker makes its offsets topic when the first group joins
        return {p.partition: at.offset for p, at in offsets.items() if p.topic == topic}
