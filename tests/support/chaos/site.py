"""Where pipelines are built: a running cluster, a Redis, a folder."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import OffsetAndMetadata

from promptmill.local.servers import Servers
from support.chaos.topic_log import TOPICS

MAX_MESSAGE_BYTES = "16777216"


@dataclass(frozen=True, slots=True)
class Site:
    """The servers and a folder for stores and logs."""

    servers: Servers
    folder: Path

    @property
    def kafka(self) -> str:
        """Bootstrap servers."""
        return self.servers.kafka.bootstrap

    @property
    def redis(self) -> str:
        """URL."""
        return self.servers.redis.url

    @property
    def brokers(self) -> int:
        """Of the cluster; 3 gives each partition three copies, two of them in step."""
        return len(self.servers.kafka.brokers)


async def make_topics(
    site: Site, prefix: str, partitions: int, topics: Collection[str] = TOPICS
) -> None:
    """Create the pipeline's topics, stamped with the time of the append, by the broker's clock."""
    settings = {
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": MAX_MESSAGE_BYTES,
        "min.insync.replicas": "2" if site.brokers == 3 else "1",
    }
    admin = AIOKafkaAdminClient(bootstrap_servers=site.kafka)
    await admin.start()
    try:
        names = [prefix + topic for topic in topics]
        await admin.create_topics(
            [NewTopic(name, partitions, site.brokers, topic_configs=settings) for name in names]
        )
    finally:
        await admin.close()


async def delete_topics(site: Site, prefix: str, topics: Collection[str] = TOPICS) -> None:
    """Delete them, so that a broker's restart does not grow slower from test to test."""
    admin = AIOKafkaAdminClient(bootstrap_servers=site.kafka)
    await admin.start()
    try:
        await admin.delete_topics([prefix + topic for topic in topics])
    finally:
        await admin.close()


async def committed(site: Site, group: str) -> dict[tuple[str, int], OffsetAndMetadata]:
    """What the group has committed, by full topic name and partition."""
    admin = AIOKafkaAdminClient(bootstrap_servers=site.kafka)
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(group)
    finally:
        await admin.close()
    return {(p.topic, p.partition): at for p, at in found.items()}
