"""The same suite over the broker in memory and over Apache Kafka."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from promptmill.kafka.consumer import KafkaSource
from promptmill.kafka.sender import KafkaSender
from promptmill.stream.layout import DataSetLayout
from promptmill.stream.ports import Delivery, Sender, Source
from promptmill.testing.broker import MemoryBroker, MemorySender, MemorySource
from support.kafka_topics import TopicReader, make_topics
from support.streams import ECHOES, ITEMS, Harness

PARTITIONS = 4


class InMemory:
    """The fake."""

    prefix = ""

    def __init__(self) -> None:
        self.broker = MemoryBroker(PARTITIONS)

    def source(self, group: str, topic: str) -> Source:
        return MemorySource(self.broker, group, [topic])

    def sender(self, layout: DataSetLayout | None = None) -> Sender:
        return MemorySender(self.broker, layout)

    async def read(self, topic: str) -> list[Delivery]:
        return self.broker.topic(topic)

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        offsets = self.broker.offsets[group]
        return {p.number: at.offset for p, at in offsets.items() if p.topic == topic}


class RealKafka:
    """Apache Kafka on loopback, with topics and groups of this test's own."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.bootstrap = bootstrap
        self.prefix = prefix
        self.reader = TopicReader(bootstrap, PARTITIONS)

    def source(self, group: str, topic: str) -> Source:
        name = f"{self.prefix}{group}"
        return KafkaSource(self.bootstrap, name, [topic], client_id="t", session_timeout_ms=6_000)

    def sender(self, layout: DataSetLayout | None = None) -> Sender:
        return KafkaSender(self.bootstrap, client_id="test", delivery_timeout_s=10.0, layout=layout)

    async def read(self, topic: str) -> list[Delivery]:
        return await self.reader.read(topic)

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        return await self.reader.committed(f"{self.prefix}{group}", topic)


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.real)])
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    """A harness over each broker in turn."""
    if request.param == "memory":
        harness = Harness(InMemory())
    else:
        name = f"t{uuid4().hex[:8]}."
        bootstrap = request.getfixturevalue("kafka")
        names = [name + topic for topic in (ITEMS.name, ECHOES.name, "dead-letters")]
        await make_topics(bootstrap, names, PARTITIONS)
        harness = Harness(RealKafka(bootstrap, name))
    yield harness
    await harness.close()
