"""Ways to lose messages on a real Kafka: consumed by nobody who works, or deleted from the log."""

from __future__ import annotations

from collections.abc import Collection

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete


async def consume_in_vain(bootstrap: str, group: str, topic: str) -> None:
    """The group commits everything on the topic, and nothing comes of it."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False
    )
    await consumer.start()
    try:
        partitions = await _partitions(bootstrap, topic)
        consumer.assign(partitions)
        await consumer.commit(await consumer.end_offsets(partitions))
    finally:
        await consumer.stop()


async def delete_log(bootstrap: str, topic: str) -> None:
    """Delete every record that is on the topic now."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        wanted = {p: RecordsToDelete(before_offset=-1) for p in await _partitions(bootstrap, topic)}
        await admin.delete_records(wanted)
    finally:
        await admin.close()


async def forget_offsets(bootstrap: str, groups: Collection[str]) -> None:
    """The cluster forgets the groups, as it does some days after their last member has left."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_consumer_groups(list(groups))
    finally:
        await admin.close()


async def _partitions(bootstrap: str, topic: str) -> list[TopicPartition]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        (described,) = await admin.describe_topics([topic])
    finally:
        await admin.close()
    return [TopicPartition(topic, each["partition"]) for each in described["partitions"]]
