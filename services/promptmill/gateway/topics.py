"""What the pipeline's topics shall be on a cluster of a given size."""

from __future__ import annotations

from promptmill.local.topics import TopicSpec
from promptmill_schemas import TOPICS
from promptmill_schemas.topics import PARTITIONS

MAX_REPLICATION = 3


def topic_specs(prefix: str, brokers: int, partitions: int = PARTITIONS) -> list[TopicSpec]:
    """Every topic: three replicas where there are three brokers, two of them in step.

    Args:
        prefix: before each name.
        brokers: of the cluster.
        partitions: of each topic; a data set keeps the number with which it was created.
    """
    replication = min(brokers, MAX_REPLICATION)
    return [
        TopicSpec(
            name=prefix + topic.name,
            partitions=partitions,
            retention_ms=topic.retention_ms,
            max_message_bytes=topic.max_message_bytes,
            replication=replication,
            min_isr=max(1, replication - 1),
        )
        for topic in TOPICS
    ]
