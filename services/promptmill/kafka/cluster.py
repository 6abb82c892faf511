"""Describes a cluster and its topics, and refuses topics whose settings lose messages."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

import structlog
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from promptmill.kafka.client import KafkaAdmin, open_admin
from promptmill.kafka.errors import as_error
from promptmill.kafka.topic_ids import read_topic_ids
from promptmill.runtime.errors import Misconfigured

log = structlog.get_logger(__name__)

LOOKS = 3
"""The requests before a topic counts as missing, because brokers learn of new topics late."""

LOOK_PAUSE_S = 1.0

TIMESTAMP_TYPE: Final = "message.timestamp.type"
APPEND_TIME: Final = "LogAppendTime"

SAFE_SETTINGS: Final = {
    "cleanup.policy": "delete",
    "retention.bytes": "-1",
    "unclean.leader.election.enable": "false",
}
"""The settings without which compaction, a size limit or an election can lose messages."""

WANTED_SETTINGS: Final = {**SAFE_SETTINGS, TIMESTAMP_TYPE: APPEND_TIME}
"""The settings of new topics.

Retention uses the broker's append time, so that a producer with a wrong clock cannot write messages
that expire at once or never."""


class LogDescription(NamedTuple):
    """A cluster with some of its topics.

    Attributes:
        partitions: the number of partitions by topic.
        topic_ids: the id by topic; empty if the brokers have no topic ids (Kafka before 3.1).
    """

    cluster_id: str
    partitions: dict[str, int]
    topic_ids: dict[str, str]


async def describe_log(bootstrap: str, topics: Collection[str]) -> LogDescription:
    """Read the cluster's id, and the number of partitions and the id of each topic.

    Raises:
        Misconfigured: a topic does not exist, may not be read, or has a setting that loses
            messages.
        Unavailable: no broker answers.
    """
    try:
        async with open_admin(bootstrap, "promptmill-describe") as admin:
            cluster = await admin.describe_cluster()
            partitions = await count_partitions(admin, bootstrap, topics)
            ids = await _topic_ids(admin, topics)
            await _check_settings(admin, bootstrap, topics)
    except KafkaError as error:
        raise as_error(f"Kafka at {bootstrap} does not answer", error) from error
    return LogDescription(cluster["cluster_id"], partitions, ids)


async def _topic_ids(admin: KafkaAdmin, topics: Collection[str]) -> dict[str, str]:
    try:
        return await read_topic_ids(admin, topics)
    except NotImplementedError as error:
        log.warning("topic_ids_unknown", topics=sorted(topics), error=str(error))
        return {}


async def count_partitions(
    admin: KafkaAdmin, bootstrap: str, topics: Collection[str]
) -> dict[str, int]:
    """Return the number of partitions of each topic.

    Raises:
        Misconfigured: a topic was not found in three requests, or may not be read.
        KafkaError: no broker answers.
    """
    for look in range(LOOKS):
        described = {t["topic"]: t for t in await admin.describe_topics(sorted(topics))}
        codes = {name: topic["error_code"] for name, topic in described.items()}
        counts = {name: len(topic["partitions"]) for name, topic in described.items()}
        if forbidden := [n for n, c in codes.items() if c == TopicAuthorizationFailedError.errno]:
            raise Misconfigured(
                f"this client is not authorised to see {', '.join(forbidden)} on Kafka at "
                f"{bootstrap}: grant its user Describe on the topics, Read where it consumes, "
                "Write where it produces"
            )
        missing = sorted(name for name in topics if not counts.get(name))
        if not missing:
            return counts
        if look < LOOKS - 1:
            await asyncio.sleep(LOOK_PAUSE_S)
    raise Misconfigured(
        f"Kafka at {bootstrap} has no topic {', '.join(missing)}, or no longer has it: create the "
        "topics with `promptmill topics` (`promptmill up` on the local stack), or point "
        "PROMPTMILL_KAFKA and PROMPTMILL_TOPIC_PREFIX at the right cluster. If a topic was "
        "deleted on purpose, set a new PROMPTMILL_STORE too"
    )


def remedy(bootstrap: str, topic: str, setting: str, wanted: str) -> str:
    """Return the part of an error message that says how to correct a setting of a topic."""
    return (
        "correct it with `promptmill topics --mend`, or with `kafka-configs --bootstrap-server "
        f"{bootstrap} --alter --entity-type topics --entity-name {topic} --add-config "
        f"{setting}={wanted}`"
    )


async def _check_settings(admin: KafkaAdmin, bootstrap: str, topics: Collection[str]) -> None:
    """Refuse topics whose settings delete unread messages."""
    for topic, found in (await _read_settings(admin, topics)).items():
        for setting, wanted in SAFE_SETTINGS.items():
            if (value := found.get(setting, wanted)) != wanted:
                raise Misconfigured(
                    f"topic {topic}: {setting} is {value}, it must be {wanted}, or messages are "
                    f"lost before they are read: {remedy(bootstrap, topic, setting, wanted)}"
                )
        if (kind := found.get(TIMESTAMP_TYPE, APPEND_TIME)) != APPEND_TIME:
            how = remedy(bootstrap, topic, TIMESTAMP_TYPE, APPEND_TIME)
            log.warning("producer_timestamps_in_use", topic=topic, found=kind, remedy=how)


async def _read_settings(
    admin: KafkaAdmin, topics: Collection[str]
) -> Mapping[str, dict[str, str]]:
    """Read the settings of the topics, except those for which the permission is missing."""
    asked = [
        ConfigResource(ConfigResourceType.TOPIC, name, dict.fromkeys(WANTED_SETTINGS))
        for name in sorted(topics)
    ]
    settings = {}
    for response in await admin.describe_configs(asked):
        for code, message, _, name, entries in response.resources:
            if code:
                log.warning("topic_settings_unreadable", topic=name, code=code, error=message)
            else:
                settings[name] = {entry[0]: entry[1] for entry in entries}
    return settings
