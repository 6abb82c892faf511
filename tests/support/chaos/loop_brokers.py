"""Brokers under the loop's tests, in memory and real, for faults inside one process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from promptmill.kafka.consumer import KafkaSource
from promptmill.kafka.sender import KafkaSender
from promptmill.stream.layout import DataSetLayout
from promptmill.stream.ports import Delivery, Sender, Source
from promptmill.testing.broker import MemoryBroker, MemorySender, MemorySource
from support.kafka_topics import TopicReader, make_topics
from support.streams import ECHOES, ITEMS, Harness


class InMemory:
    """The broker in memory.

    Args:
        member: class of the sources.
    """

    prefix = ""

    def __init__(self, partitions: int = 4, member: type[MemorySource] = MemorySource) -> None:
        self.broker = MemoryBroker(partitions)
        self._member = member

    def source(self, group: str, topic: str) -> Source:
        return self._member(self.broker, group, [topic])

    def sender(self, layout: DataSetLayout | None = None) -> Sender:
        return MemorySender(self.broker, layout)

    async def read(self, topic: str) -> list[Delivery]:
        return self.broker.topic(topic)

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        offsets = self.broker.offsets[group]
        return {p.number: at.offset for p, at in offsets.items() if p.topic == topic}


class OnKafka:
    """Apache Kafka; ``senders`` are wrapped for tests that hold what is published."""

    def __init__(self, bootstrap: str, prefix: str, partitions: int = 4) -> None:
        self.bootstrap = bootstrap
        self.prefix = prefix
        self.partitions = partitions
        self._reader = TopicReader(bootstrap, partitions)

    def source(self, group: str, topic: str) -> Source:
        name = f"{self.prefix}{group}"
        return KafkaSource(
            self.bootstrap, name, [topic], client_id="chaos", session_timeout_ms=6_000
        )

    def sender(self, layout: DataSetLayout | None = None) -> Sender:
        return KafkaSender(
            self.bootstrap, client_id="chaos", delivery_timeout_s=20.0, layout=layout
        )

    async def read(self, topic: str) -> list[Delivery]:
        return await self._reader.read(topic)

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        return await self._reader.committed(f"{self.prefix}{group}", topic)


@asynccontextmanager
async def harness_on(broker: OnKafka) -> AsyncIterator[Harness]:
    """Create the topics of a stage on Kafka, and stop its members at the end."""
    names = [broker.prefix + topic for topic in (ITEMS.name, ECHOES.name, "dead-letters")]
    await make_topics(broker.bootstrap, names, broker.partitions)
    harness = Harness(broker)
    yield harness
    await harness.close()
