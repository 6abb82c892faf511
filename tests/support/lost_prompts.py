"""Ways to lose messages on a real Kafka: consumed by nobody who works, or deleted from the log."""

from __future__ import annotations

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.protocol.admin import DeleteGroupsRequest

from promptmill.kafka.client import open_admin
from support.waiting import eventually


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
    wanted = {p: RecordsToDelete(before_offset=-1) for p in await _partitions(bootstrap, topic)}
    async with open_admin(bootstrap) as admin:
        await admin.delete_records(wanted)


async def forget_offsets(bootstrap: str, group: str) -> None:
    """The cluster forgets the group, as it does some days after its last member has left."""
    async with open_admin(bootstrap) as admin:

        async def is_forgotten() -> bool:
            coordinator = await admin.find_coordinator(group)
            answer = await admin._send_request_to_node(coordinator, DeleteGroupsRequest([group]))
            ((_, code),) = answer.results
            return bool(code == 0)  # a member may not have left yet

        await eventually(is_forgotten, because=f"the group {group} still has members")


async def count_messages(bootstrap: str, topic: str) -> int:
    """How many messages were ever published to the topic."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        ends = await consumer.end_offsets(await _partitions(bootstrap, topic))
    finally:
        await consumer.stop()
    return sum(ends.values())


async def _partitions(bootstrap: str, topic: str) -> list[TopicPartition]:
    async with open_admin(bootstrap) as admin:
        (described,) = await admin.describe_topics([topic])
    return [TopicPartition(topic, each["partition"]) for each in described["partitions"]]
