"""The producer on three brokers: too few replicas in sync for a minute, brokers bounced."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from functools import partial

import psutil
import pytest

from promptmill.devstack.kafka import KafkaCluster
from promptmill.kafka.sender import KafkaSender
from promptmill.kafka.topics import TopicSpec, ensure_topics
from promptmill.runtime.errors import Transient
from support.kafka_topics import TopicReader
from support.producing import producer_tasks, senders_alive
from support.stack import running_servers, unique_name
from support.waiting import eventually

PARTITIONS = 3
REFUSED_FOR_S = float(os.environ.get("PROMPTMILL_TEST_BELOW_MIN_ISR_S", "60"))
"""Ten minutes where there is time: PROMPTMILL_TEST_BELOW_MIN_ISR_S=600."""
TIMEOUT_S = 4.0

pytestmark = [pytest.mark.real, pytest.mark.timeout(340 + REFUSED_FOR_S)]


@pytest.fixture(scope="module")
def three_brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    with running_servers(tmp_path_factory.mktemp("three"), brokers=3) as servers:
        yield servers.kafka


@pytest.fixture
def cluster(three_brokers: KafkaCluster) -> Iterator[KafkaCluster]:
    """The cluster, whole before and after the test."""
    yield three_brokers
    three_brokers.start()
    three_brokers.wait_ready()


@pytest.fixture
async def topic(cluster: KafkaCluster) -> str:
    """A topic that takes writes only while all of the three brokers are in sync."""
    name = unique_name()
    spec = TopicSpec(name, PARTITIONS, -1, 1_000_000, replication=3, min_isr=3)
    assert await ensure_topics(cluster.bootstrap, [spec]) == []
    return name


@pytest.fixture
async def sender(cluster: KafkaCluster) -> AsyncIterator[KafkaSender]:
    sender = KafkaSender(cluster.bootstrap, client_id="t", delivery_timeout_s=TIMEOUT_S)
    await sender.start()
    yield sender
    await sender.stop()
    assert producer_tasks() == []


async def publish(sender: KafkaSender, topic: str, value: bytes) -> None:
    """As the stages do: again, until it is acknowledged."""
    while True:
        try:
            return await sender.send(topic, value, value)
        except Transient:
            await asyncio.sleep(0.1)


def values(first: int, last: int) -> list[bytes]:
    return [b"message %d" % index for index in range(first, last)]


def connections(cluster: KafkaCluster) -> int:
    """Connections of this process to the brokers."""
    ports = {broker.port for broker in cluster.brokers.values()}
    open_now = psutil.Process().net_connections("tcp")
    return sum(
        1 for c in open_now if c.raddr and c.raddr.port in ports and c.status == "ESTABLISHED"
    )


async def test_a_minute_below_min_insync_replicas(
    cluster: KafkaCluster, sender: KafkaSender, topic: str
) -> None:
    """Fifteen delivery time-outs long or more: one producer, and one copy of each message."""
    await asyncio.gather(*(publish(sender, topic, value) for value in values(0, 50)))
    publishing = [asyncio.create_task(publish(sender, topic, v)) for v in values(50, 100)]
    await asyncio.to_thread(cluster.kill, 3)
    publishing += [asyncio.create_task(publish(sender, topic, v)) for v in values(100, 150)]
    await eventually(lambda: sender.unacknowledged_s > REFUSED_FOR_S, REFUSED_FOR_S + 60)
    assert senders_alive() == 1
    assert sender.replaced == 0
    assert connections(cluster) <= 3
    await asyncio.to_thread(cluster.restart, 3)
    await asyncio.wait_for(asyncio.gather(*publishing), 120)
    print(f"no write was acknowledged for {REFUSED_FOR_S:g} s")
    assert sender.replaced == 0
    found = await copies(cluster, topic)
    assert set(found) == set(values(0, 150))
    assert max(found.values()) == 1, "the broker drops what it has under the same sequence"


async def test_every_broker_bounced_in_turn(
    cluster: KafkaCluster, sender: KafkaSender, topic: str
) -> None:
    """Leaders move while messages are in flight."""
    published: list[bytes] = []

    async def keep_publishing() -> None:
        while True:
            value = b"message %d" % len(published)
            await publish(sender, topic, value)
            published.append(value)

    task = asyncio.create_task(keep_publishing())
    for node in cluster.brokers:
        await asyncio.to_thread(cluster.kill, node)
        await asyncio.to_thread(cluster.restart, node)
        enough = partial(more_than, published, len(published) + 20)
        await eventually(enough, timeout_s=120)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert senders_alive() == 1
    found = await copies(cluster, topic)
    assert set(published) <= set(found)
    assert max(found.values()) <= 2


def more_than(published: list[bytes], number: int) -> bool:
    return len(published) > number


async def copies(cluster: KafkaCluster, topic: str) -> Counter[bytes]:
    log = await TopicReader(cluster.bootstrap, PARTITIONS).read(topic)
    return Counter(bytes(delivery.value or b"") for delivery in log)
