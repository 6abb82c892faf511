"""Topics that the cluster refuses because its brokers have just come back, or lacks brokers for."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.admin import NewTopic
from aiokafka.errors import InvalidReplicationFactorError, TopicAlreadyExistsError

from promptmill.kafka.client import KafkaAdmin
from promptmill.kafka.topics import TopicSpec, create_topics
from promptmill.runtime.errors import Misconfigured

FENCED = "all brokers are currently fenced"


class Cluster:
    """It refuses topics this many times; then it has as many brokers as it is said to have."""

    def __init__(self, brokers: int, refusals: int, existing: Sequence[str] = ()) -> None:
        self.brokers = brokers
        self.refusals = refusals
        self.existing = existing
        self.asked: list[list[str]] = []

    async def create_topics(self, topics: Sequence[NewTopic]) -> Any:
        self.asked.append([topic.name for topic in topics])
        answers = [self._answer(topic) for topic in topics]
        self.refusals -= 1
        return SimpleNamespace(topic_errors=answers)

    async def describe_cluster(self) -> dict[str, Any]:
        return {"brokers": list(range(self.brokers if self.refusals <= 0 else 0))}

    def _answer(self, topic: NewTopic) -> tuple[str, int, str]:
        if topic.name in self.existing:
            return topic.name, TopicAlreadyExistsError.errno, "exists"
        if self.refusals > 0 or topic.replication_factor > self.brokers:
            return topic.name, InvalidReplicationFactorError.errno, FENCED
        return topic.name, 0, ""


async def create(cluster: Cluster, *specs: TopicSpec) -> set[str]:
    return await create_topics(cast("KafkaAdmin", cluster), specs)


def spec(name: str, replication: int = 1) -> TopicSpec:
    return TopicSpec(name, 1, -1, 2_000, replication=replication)


async def test_topics_that_are_refused_while_brokers_come_back_are_asked_for_again() -> None:
    cluster = Cluster(brokers=1, refusals=3, existing=["old"])
    assert await create(cluster, spec("new"), spec("old")) == {"old"}
    assert cluster.asked == [["new", "old"], ["new"], ["new"], ["new"]]


async def test_more_replicas_than_brokers_are_refused_at_once() -> None:
    cluster = Cluster(brokers=1, refusals=0)
    with pytest.raises(Misconfigured, match="cannot create topic new: all brokers"):
        await create(cluster, spec("new", replication=3))
    assert len(cluster.asked) == 1


async def test_a_cluster_that_refuses_for_long_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("promptmill.kafka.topics._BROKERS_WITHIN_S", 0)
    with pytest.raises(Misconfigured, match=FENCED):
        await create(Cluster(brokers=1, refusals=10**9), spec("new"))
