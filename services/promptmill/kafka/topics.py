"""Creates the topics, and reports existing ones whose settings differ."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidReplicationFactorError,
    KafkaError,
    NoError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)

from promptmill.kafka.access import CREATOR
from promptmill.kafka.client import KafkaAdmin, open_admin
from promptmill.kafka.cluster import WANTED_SETTINGS, remedy
from promptmill.kafka.login import LoginRefused
from promptmill.runtime.errors import Fatal, Misconfigured, Transient
from promptmill_schemas import TOPICS
from promptmill_schemas.topics import PARTITIONS

MAX_REPLICATION = 3
_LEADERS_WITHIN_S = 30.0
_BROKERS_WITHIN_S = 30.0
_POLL_S = 0.05
_NOT_ALLOWED = (TopicAuthorizationFailedError, ClusterAuthorizationFailedError)
_OWN = 1
"""The broker's code for a setting of the topic itself rather than a default."""


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """The specification of a topic.

    Attributes:
        retention_ms: milliseconds for which messages are kept; -1 keeps them indefinitely.
        max_message_bytes: the largest message batch that the brokers accept.
        replication: the number of replicas of each partition, at most that of the brokers.
        min_isr: the in-sync replicas that a write with ``acks=all`` needs.
    """

    name: str
    partitions: int
    retention_ms: int
    max_message_bytes: int
    replication: int = 1
    min_isr: int = 1

    @property
    def settings(self) -> dict[str, str]:
        """The topic's configuration by Kafka's names."""
        return {
            "retention.ms": str(self.retention_ms),
            "max.message.bytes": str(self.max_message_bytes),
            "min.insync.replicas": str(self.min_isr),
            **WANTED_SETTINGS,
        }


def topic_specs(prefix: str, brokers: int, partitions: int = PARTITIONS) -> list[TopicSpec]:
    """Return the specifications of all topics.

    With three or more brokers, a topic has three replicas, of which two must be in sync.

    Args:
        prefix: the prefix of all names.
        brokers: the number of brokers in the cluster.
        partitions: the number of partitions of each topic; a data set keeps its first number.
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


@dataclass(frozen=True, slots=True)
class TopicDifference:
    """A setting of an existing topic that differs from its specification."""

    topic: str
    setting: str
    found: str
    wanted: str

    def __str__(self) -> str:
        return f"topic {self.topic}: {self.setting} is {self.found}, but should be {self.wanted}"

    @property
    def is_dangerous(self) -> bool:
        """Whether this setting can lose messages or keep them from expiring."""
        return self.setting in WANTED_SETTINGS


async def ensure_topics(
    bootstrap: str, specs: Collection[TopicSpec], *, mend: bool = False
) -> list[TopicDifference]:
    """Create the missing topics and wait until they can be written.

    Args:
        mend: whether to correct the dangerous settings of existing topics.

    Returns:
        The differences between the existing topics and their specifications.

    Raises:
        Transient: no broker answers, or the cluster cannot create topics now.
        Misconfigured: the cluster refuses a specification, for example one with more replicas
            than brokers.
        Fatal: a new topic has no leader for 30 s.
    """
    async with _admin(bootstrap) as admin:
        existing = await create_topics(admin, specs)
        described = await _await_leaders(admin, {spec.name for spec in specs})
        if not existing:
            return []
        settings = await _settings(admin, existing)
        differences = [
            difference
            for spec in specs
            if spec.name in existing
            for difference in _differences(spec, described[spec.name], settings[spec.name])
        ]
        wrong = [difference for difference in differences if difference.is_dangerous]
        if not mend or not wrong:
            return differences
        await _mend(admin, wrong)
        return [difference for difference in differences if not difference.is_dangerous]


def check_differences(bootstrap: str, differences: Collection[TopicDifference]) -> None:
    """Refuse topics that can lose messages.

    Raises:
        Misconfigured: a setting is dangerous; the message says how to correct it.
    """
    wrong = [difference for difference in differences if difference.is_dangerous]
    if wrong:
        named = "; ".join(map(str, wrong))
        first = wrong[0]
        how = remedy(bootstrap, first.topic, first.setting, first.wanted)
        raise Misconfigured(f"{named}: messages can be lost, or are kept indefinitely: {how}")


async def _mend(admin: KafkaAdmin, wrong: Collection[TopicDifference]) -> None:
    """Correct settings, in a request that also repeats the other settings of the topics."""
    names = {difference.topic for difference in wrong}
    own = await _settings(admin, names, only_own=True)
    for difference in wrong:
        own[difference.topic][difference.setting] = difference.wanted
    resources = [ConfigResource(ConfigResourceType.TOPIC, name, own[name]) for name in own]
    for response in await admin.alter_configs(resources):
        for code, message, _, name in response.resources:
            if code:
                raise Misconfigured(f"cannot correct the settings of topic {name}: {message}")


@asynccontextmanager
async def _admin(bootstrap: str) -> AsyncIterator[KafkaAdmin]:
    try:
        async with open_admin(bootstrap) as admin:
            yield admin
    except LoginRefused as error:
        raise Misconfigured(str(error)) from error
    except KafkaError as error:
        raise Transient(
            f"Kafka at {bootstrap} does not answer ({error}); start the local stack with "
            "'promptmill up', or correct PROMPTMILL_KAFKA"
        ) from error


async def create_topics(admin: KafkaAdmin, specs: Iterable[TopicSpec]) -> set[str]:
    """Create the topics, and return the names of those that already existed.

    Raises:
        Transient: the cluster cannot create topics now.
        Misconfigured: the cluster refuses a specification.
    """
    wanted = {spec.name: spec for spec in specs}
    existing: set[str] = set()
    refused: set[str] = set()
    deadline = time.monotonic() + _BROKERS_WITHIN_S
    while wanted:
        response = await admin.create_topics([_new_topic(spec) for spec in wanted.values()])
        again = {}
        for name, code, message in response.topic_errors:
            error = for_code(code)
            if error is TopicAlreadyExistsError:
                existing.add(name)
            elif error in _NOT_ALLOWED:
                refused.add(name)
            elif error is InvalidReplicationFactorError and await _may_succeed(
                admin, wanted[name], deadline
            ):
                again[name] = wanted[name]
            elif error is not NoError:
                refusal = Transient if error.retriable else Misconfigured
                raise refusal(f"cannot create topic {name}: {message or error.description}")
        wanted = again
        await asyncio.sleep(_POLL_S if again else 0)
    return existing | await _created_by_others(admin, refused)


async def _created_by_others(admin: KafkaAdmin, names: set[str]) -> set[str]:
    """Return these topics, which the user may not create, if all of them exist.

    Raises:
        Misconfigured: a topic does not exist, or the user may not see it.
    """
    found = await admin.describe_topics(sorted(names)) if names else []
    missing = sorted(names - {topic["topic"] for topic in found if not topic["error_code"]})
    if missing:
        raise Misconfigured(
            f"this client's user may not create topic {', '.join(missing)}: let someone who may "
            "create them as `promptmill topics --plan` prints, and grant this user the rights of "
            f"its part; or grant it {CREATOR}"
        )
    return names


def _new_topic(spec: TopicSpec) -> NewTopic:
    return NewTopic(spec.name, spec.partitions, spec.replication, topic_configs=spec.settings)


async def _may_succeed(admin: KafkaAdmin, refused: TopicSpec, deadline: float) -> bool:
    """Return whether a topic that was refused for lack of brokers may still be created.

    The controller regards brokers that have just returned as absent until they report, and the
    cluster lists none of them in the meantime.
    """
    brokers = len((await admin.describe_cluster())["brokers"])
    return (not brokers or refused.replication <= brokers) and time.monotonic() < deadline


async def _await_leaders(admin: KafkaAdmin, names: set[str]) -> dict[str, Any]:
    """Wait until every partition has a leader, and return the metadata of the topics."""
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


async def _settings(
    admin: KafkaAdmin, names: set[str], *, only_own: bool = False
) -> dict[str, dict[str, str]]:
    """Return the effective settings by topic, or only those that were set for the topic itself."""
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in sorted(names)]
    responses = await admin.describe_configs(resources)
    settings: dict[str, dict[str, str]] = {}
    for response in responses:
        for code, message, _, name, entries in response.resources:
            if code:
                raise Fatal(f"cannot read the settings of topic {name}: {message}")
            settings[name] = {e[0]: e[1] for e in entries if not only_own or e[3] == _OWN}
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
