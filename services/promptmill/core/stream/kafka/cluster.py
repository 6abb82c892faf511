"""Facts about a cluster: its id, and how many partitions a topic has."""

from __future__ import annotations

from collections.abc import Collection

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from promptmill.core.errors import Misconfigured, Unavailable


async def describe_log(bootstrap: str, topics: Collection[str]) -> tuple[str, dict[str, int]]:
    """The cluster's id, and each topic's number of partitions.

    Raises:
        Misconfigured: a topic does not exist.
        Unavailable: no broker answers.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, client_id="promptmill-describe")
    try:
        await admin.start()
        cluster = await admin.describe_cluster()
        described = await admin.describe_topics(sorted(topics))
    except KafkaError as error:
        raise Unavailable(f"Kafka at {bootstrap} does not answer: {error!r}") from error
    finally:
        await admin.close()
    partitions = {topic["topic"]: len(topic["partitions"]) for topic in described}
    if missing := sorted(name for name in topics if not partitions.get(name)):
        raise Misconfigured(
            f"Kafka at {bootstrap} has no topic {', '.join(missing)}: create the topics with "
            f"`promptmill up`, or point PROMPTMILL_KAFKA at the right cluster"
        )
    return cluster["cluster_id"], partitions
