"""Creates topics with settings chosen on purpose; reports those that exist with others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, NoError, TopicAlreadyExistsError, for_code

from promptmill.core.errors import Fatal, Misconfigured, Transient

_LEADERS_WITHIN_S = 30.0
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """What a topic shall be.

    Attributes:
        retention_ms: how long messages are kept; -1 keeps them for ever.
        max_message_bytes: the largest message batch that the brokers accept.
        replication: copies of each partition; at most the number of brokers.
        min_isr: copies that must be in step for a write with acks=all to succeed.
    """

    name: str
    partitions: int
    retention_ms: int
    max_message_bytes: int
    replication: int = 1
    min_isr: int = 1

    @property
    def settings(self) -> dict[str, str]:
        """The topic's configuration in Kafka's words."""
        return {
            "retention.ms": str(self.retention_ms),
            "max.message.bytes": str(self.max_message_bytes),
            "min.insync.replicas": str(self.min_isr),
        }


@dataclass(frozen=True, slots=True)
class TopicDifference:
    """One setting of an existing topic that is not what was asked for."""

    topic: str
    setting: str
    found: str
    wanted: str

    def __str__(self) -> str:
        return f"topic {self.topic}: {self.setting} is {self.found}, wanted {self.wanted}"


async def ensure_topics(bootstrap: str, specs: Collection[TopicSpec]) -> list[TopicDifference]:
    """Creates the topics that do not exist and waits until they can be written.

    Returns:
        How the topics that existed before differ from the specifications; they are not altered.

    Raises:
        Transient: no broker answers, or the cluster cannot do it now.
        Misconfigured: the cluster refuses a specification, for example more replicas than it
            has brokers.
        Fatal: a new topic has no leader for 30 s.
    """
    async with _admin(bootstrap) as admin:
        existing = await _create(admin, specs)
        described = await _await_leaders(admin, {spec.name for spec in specs})
        if not existing:
            return []
        settings = await _settings(admin, existing)
        return [
            difference
            for spec in specs
            if spec.name in existing
            for difference in _differences(spec, described[spec.name], settings[spec.name])
        ]


@asynccontextmanager
async def _admin(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        yield admin
    except KafkaError as error:
        raise Transient(
            f"Kafka at {bootstrap} does not answer ({error}); start the local stack with "
            "'promptmill up', or correct PROMPTMILL_KAFKA"
        ) from error
    finally:
        await admin.close()


async def _create(admin: AIOKafkaAdminClient, specs: Iterable[TopicSpec]) -> set[str]:
    """Asks for all topics; gives the names of those that existed."""
    new = [
        NewTopic(spec.name, spec.partitions, spec.replication, topic_configs=spec.settings)
        for spec in specs
    ]
    response = await admin.create_topics(new)
    existing = set()
    for name, code, message in response.topic_errors:
        error = for_code(code)
        if error is TopicAlreadyExistsError:
            existing.add(name)
        elif error is not NoError:
            refusal = Transient if error.retriable else Misconfigured
            raise refusal(f"cannot create topic {name}: {message or error.description}")
    return existing


async def _await_leaders(admin: AIOKafkaAdminClient, names: set[str]) -> dict[str, Any]:
    """The topics' metadata, once every partition has a leader."""
    deadline = time.monotonic() + _LEADERS_WITHIN_S
    while True:
        topics = {topic["topic"]: topic for topic in await admin.describe_topics(list(names))}
        waiting = sorted(name for name in names if not _has_leaders(topics.get(name)))
        if not waiting:
            return topics
        if time.monotonic() > deadline:
            raise Fatal(
                f"topics {', '.join(waiting)} have partitions without a leader after "
                f"{_LEADERS_WITHIN_S:g} s; see the brokers' logs"
            )
        await asyncio.sleep(_POLL_S)


def _has_leaders(topic: Mapping[str, Any] | None) -> bool:
    if not topic or topic["error_code"] or not topic["partitions"]:
        return False
    return all(partition["leader"] >= 0 for partition in topic["partitions"])


async def _settings(admin: AIOKafkaAdminClient, names: set[str]) -> dict[str, dict[str, str]]:
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in sorted(names)]
    responses = await admin.describe_configs(resources)
    settings: dict[str, dict[str, str]] = {}
    for response in responses:
        for code, message, _, name, entries in response.resources:
            if code:
                raise Fatal(f"cannot read the settings of topic {name}: {message}")
            settings[name] = {entry[0]: entry[1] for entry in entries}
    return settings


def _differences(
    spec: TopicSpec, described: Mapping[str, Any], settings: Mapping[str, str]
) -> Iterable[TopicDifference]:
    partitions = described["partitions"]
    found = {
        "partitions": str(len(partitions)),
        "replication": str(min(len(partition["replicas"]) for partition in partitions)),
        **settings,
    }
    wanted = {
        "partitions": str(spec.partitions),
        "replication": str(spec.replication),
        **spec.settings,
    }
    for setting, value in wanted.items():
        if found.get(setting) != value:
            yield TopicDifference(spec.name, setting, found.get(setting, "absent"), value)
