"""Where pipelines are built: a running cluster, a Redis, a folder."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from aiokafka.admin import NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.structs import OffsetAndMetadata

from promptmill.devstack.servers import Servers
from promptmill.kafka.client import open_admin
from support.chaos.topic_log import PROMPTS, TOPICS

MAX_MESSAGE_BYTES = "16777216"


@dataclass(frozen=True, slots=True)
class Backend:
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

    @property
    def usual_min_isr(self) -> int:
        """Copies that a write needs, unless a test asks for more."""
        return 2 if self.brokers == 3 else 1


async def make_topics(
    backend: Backend, prefix: str, partitions: int, topics: Collection[str] = TOPICS
) -> None:
    """Create the pipeline's topics, stamped with the time of the append, by the broker's clock."""
    settings = _settings(backend.usual_min_isr)
    async with open_admin(backend.kafka) as admin:
        names = [prefix + topic for topic in topics]
        await admin.create_topics(
            [NewTopic(name, partitions, backend.brokers, topic_configs=settings) for name in names]
        )


def _settings(min_isr: int) -> dict[str, str]:
    return {
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": MAX_MESSAGE_BYTES,
        "min.insync.replicas": str(min_isr),
    }


async def require_replicas(backend: Backend, prefix: str, number: int) -> None:
    """Set ``min.insync.replicas`` of the pipeline's topics."""
    settings = _settings(number)  # altering replaces all settings of a topic
    resources = [
        ConfigResource(ConfigResourceType.TOPIC, prefix + topic, settings) for topic in TOPICS
    ]
    async with open_admin(backend.kafka) as admin:
        await admin.alter_configs(resources)


async def partition_count(backend: Backend, prefix: str) -> int:
    """Partitions of the topic of prompts; all topics of a pipeline have equally many."""
    async with open_admin(backend.kafka) as admin:
        (topic,) = await admin.describe_topics([prefix + PROMPTS])
    return len(topic["partitions"])


async def add_partitions(backend: Backend, prefix: str, total: int) -> None:
    """Extend every topic of the pipeline to so many partitions."""
    async with open_admin(backend.kafka) as admin:
        await admin.create_partitions(
            {prefix + topic: NewPartitions(total_count=total) for topic in TOPICS}
        )


async def delete_topics(backend: Backend, prefix: str, topics: Collection[str] = TOPICS) -> None:
    """Delete them, so that a broker's restart does not grow slower from test to test."""
    async with open_admin(backend.kafka) as admin:
        await admin.delete_topics([prefix + topic for topic in topics])


async def committed(backend: Backend, group: str) -> dict[tuple[str, int], OffsetAndMetadata]:
    """What the group has committed, by full topic name and partition."""
    async with open_admin(backend.kafka) as admin:
        found = await admin.list_consumer_group_offsets(group)
    return {(p.topic, p.partition): at for p, at in found.items()}
