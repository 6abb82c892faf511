"""Three brokers, and what the chaos tests do to them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaProducer

from promptmill.devstack.broker import known_nodes
from promptmill.devstack.kafka import KafkaCluster
from promptmill.devstack.stack import Servers, find
from promptmill.kafka.client import open_admin
from promptmill.kafka.topics import TopicSpec, ensure_topics
from promptmill.runtime.errors import Fatal
from support.stack import running_servers, unique_name
from support.waiting import eventually

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with running_servers(tmp_path_factory.mktemp("three"), brokers=3) as running:
        yield running


@pytest.fixture
def cluster(servers: Servers) -> Iterator[KafkaCluster]:
    """The cluster, whole before and after the test."""
    yield servers.kafka
    for node in servers.kafka.running():
        servers.kafka.resume(node)
    servers.kafka.start()
    servers.kafka.wait_ready()


async def make_topic(cluster: KafkaCluster, min_isr: int = 2) -> str:
    spec = TopicSpec(
        unique_name(),
        partitions=3,
        retention_ms=-1,
        max_message_bytes=1_000_000,
        replication=3,
        min_isr=min_isr,
    )
    assert await ensure_topics(cluster.bootstrap, [spec]) == []
    return spec.name


async def in_step(cluster: KafkaCluster, topic: str) -> set[int]:
    """The nodes that have every record of the topic."""
    async with open_admin(cluster.bootstrap) as admin:
        (described,) = await admin.describe_topics([topic])
    return set.intersection(*(set(partition["isr"]) for partition in described["partitions"]))


async def write(cluster: KafkaCluster, topic: str) -> None:
    """A record to each partition, acknowledged by all that must."""
    async with AIOKafkaProducer(bootstrap_servers=cluster.bootstrap, acks="all") as producer:
        for partition in range(3):
            await producer.send_and_wait(topic, b"grain", partition=partition)


def nodes_seen_by(cluster: KafkaCluster, node: int) -> frozenset[int]:
    return known_nodes(cluster.brokers[node].port, timeout_s=1)


async def test_each_record_has_three_copies(cluster: KafkaCluster) -> None:
    topic = await make_topic(cluster)
    await write(cluster, topic)
    assert await in_step(cluster, topic) == {1, 2, 3}


@pytest.mark.parametrize("node", [1, 3])
async def test_a_killed_broker_is_missed_and_comes_back(
    servers: Servers, cluster: KafkaCluster, node: int
) -> None:
    topic = await make_topic(cluster)
    others = {1, 2, 3} - {node}
    witness = min(others)

    cluster.kill(node)

    assert set(cluster.running()) == others
    info = find(servers.home)
    assert info is not None
    assert info.missing == (f"kafka-{node}",)
    await eventually(lambda: nodes_seen_by(cluster, witness) == others)
    await write(cluster, topic)

    cluster.restart(node)

    async def is_whole() -> bool:
        return await in_step(cluster, topic) == {1, 2, 3}

    assert nodes_seen_by(cluster, node) == {1, 2, 3}
    await eventually(is_whole)


async def test_a_frozen_broker_loses_its_place_and_gets_it_back(cluster: KafkaCluster) -> None:
    cluster.pause(2)
    assert cluster.running() == (1, 2, 3)
    assert nodes_seen_by(cluster, 2) == frozenset()
    await eventually(lambda: nodes_seen_by(cluster, 1) == {1, 3})
    with pytest.raises(Fatal, match="kafka-2 did not answer on 127"):
        cluster.wait_ready(2, timeout_s=0)
    cluster.resume(2)
    await eventually(lambda: nodes_seen_by(cluster, 1) == {1, 2, 3})


async def test_a_broker_can_be_bounced_cleanly(cluster: KafkaCluster) -> None:
    before = cluster.daemon(3).process()
    cluster.restart(3)
    after = cluster.daemon(3).process()
    assert after is not None
    assert after != before
    assert nodes_seen_by(cluster, 3) == {1, 2, 3}


async def test_a_broker_that_ends_at_its_start_is_explained(cluster: KafkaCluster) -> None:
    cluster.stop(3)
    identity = cluster.daemon(3).folder / "data" / "meta.properties"
    kept = identity.read_text()
    identity.write_text(kept.replace("node.id=3", "node.id=9"))
    try:
        cluster.start(3)
        with pytest.raises(
            Fatal, match=r"(?s)kafka-3 exited while it was starting; see .*kafka-3\.log"
        ):
            cluster.wait_ready(3)
    finally:
        identity.write_text(kept)
