"""The only broker, controller too, is frozen for longer than its session; then it comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from promptmill.devstack.kafka import KafkaCluster
from promptmill.kafka.client import KafkaAdmin, open_admin
from promptmill.kafka.cluster import describe_log
from promptmill.kafka.topics import TopicSpec, ensure_topics
from support.stack import running_servers, unique_name
from support.waiting import eventually

FROZEN_S = 5.0
"""Longer than the session of a broker of the local stack, after which the controller fences it."""

ROUNDS = 20
"""A broker that has come back is fenced for a few rounds, and named by nobody."""

pytestmark = [pytest.mark.real, pytest.mark.timeout(340)]


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    with running_servers(tmp_path_factory.mktemp("frozen")) as servers:
        yield servers.kafka


@asynccontextmanager
async def frozen(cluster: KafkaCluster) -> AsyncIterator[None]:
    """While the broker is frozen, its session over; it goes on afterwards."""
    cluster.pause(1)
    try:
        await asyncio.sleep(FROZEN_S)
        yield
    finally:
        cluster.resume(1)


async def create(admin: KafkaAdmin, name: str) -> None:
    await admin.create_topics([NewTopic(name, 1, 1)])


async def read_settings(admin: KafkaAdmin, name: str) -> bool:
    """Whether the broker says how the topic is set up."""
    wanted = [ConfigResource(ConfigResourceType.TOPIC, name)]
    return all(not r[0] for a in await admin.describe_configs(wanted) for r in a.resources)


async def test_requests_to_a_frozen_controller_are_answered_when_it_comes_back(
    own_broker: KafkaCluster,
) -> None:
    old, new = unique_name(), unique_name()
    async with open_admin(own_broker.bootstrap) as one, open_admin(own_broker.bootstrap) as two:
        await create(one, old)
        async with frozen(own_broker):
            creating = asyncio.create_task(create(one, new))
            describing = asyncio.create_task(read_settings(two, old))
            await asyncio.sleep(0)
        await creating
        assert await describing
        await eventually(lambda: created(two, new))


async def test_clients_that_begin_while_no_broker_is_named_wait_for_one(
    own_broker: KafkaCluster,
) -> None:
    def spec() -> TopicSpec:
        return TopicSpec(unique_name(), 1, 3_600_000, 2_000)

    known = spec()
    await ensure_topics(own_broker.bootstrap, [known])
    async with frozen(own_broker):
        rounds = asyncio.create_task(describe_log(own_broker.bootstrap, [known.name]))
        await asyncio.sleep(0)
    await rounds
    for _ in range(ROUNDS):
        created, again, described = await asyncio.gather(
            ensure_topics(own_broker.bootstrap, [spec()]),
            ensure_topics(own_broker.bootstrap, [known]),
            describe_log(own_broker.bootstrap, [known.name]),
        )
        assert (created, again, described.partitions) == ([], [], {known.name: 1})


async def test_a_controller_that_stays_away_is_an_error_of_kafka_and_the_client_recovers(
    own_broker: KafkaCluster,
) -> None:
    old, new = unique_name(), unique_name()
    admin = KafkaAdmin(
        bootstrap_servers=own_broker.bootstrap, request_timeout_ms=1_000, controller_within_s=1.0
    )
    await admin.start()
    try:
        await eventually(lambda: created(admin, old))
        async with frozen(own_broker):
            for _ in range(2):
                with pytest.raises(KafkaError):
                    await create(admin, new)
                with pytest.raises(KafkaError):
                    await read_settings(admin, old)
        await eventually(lambda: created(admin, new))
        assert await read_settings(admin, old)
    finally:
        await admin.close()


async def created(admin: KafkaAdmin, name: str) -> bool:
    """Asks for the topic; whether it is there. The controller may not know its broker yet."""
    try:
        await create(admin, name)
        return name in await admin.list_topics()
    except KafkaError:
        return False
