"""Topics of a test's own on a real broker, read back without any code under test."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.errors import GroupCoordinatorNotAvailableError

from promptmill.core.stream.ports import Delivery, Partition


async def make_topics(bootstrap: str, names: Sequence[str], partitions: int) -> None:
    """Create topics that do not exist yet."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        missing = set(names) - set(await admin.list_topics())
        topics = [
            NewTopic(n, partitions, 1, topic_configs={"max.message.bytes": "16000000"})
            for n in missing
        ]
        if topics:
            await admin.create_topics(topics)
    finally:
        await admin.close()


async def delete_up_to(bootstrap: str, partition: Partition, first: int) -> None:
    """As retention does: the log begins at ``first`` from now on."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(*partition): RecordsToDelete(first)})
    finally:
        await admin.close()


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
                        Delivery(Partition(*p), r.offset, r.key, r.value, r.timestamp)
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
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        await admin.start()
        try:
            offsets = await admin.list_consumer_group_offsets(group)
        except GroupCoordinatorNotAvailableError:
            return {}  # the broker makes its offsets topic when the first group joins
        finally:
            await admin.close()
        return {p.partition: at.offset for p, at in offsets.items() if p.topic == topic}
