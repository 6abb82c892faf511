"""What happens around a running pipeline: operators change its servers, strangers write to it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from random import Random

import redis
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from promptmill.devstack.ports import free_port
from promptmill.devstack.redis import RedisServer
from promptmill_schemas import Prompt, encode
from support.chaos.backend import add_partitions, partition_count, require_replicas
from support.chaos.pipeline import PipelineUnderTest
from support.chaos.prompts import prompt
from support.chaos.sending import sending
from support.chaos.topic_log import COMPLETIONS, PROMPTS, RECORDS, REJECTS, SCORED

MOST_ADDED = 4
"""Partitions that a campaign adds to every topic, one at a time."""

STRANGERS = 20
"""Messages that one visit of a foreign producer brings."""

POISON: Sequence[bytes] = (
    b"",
    b"\xff\xfe not UTF-8",
    b'{"prompt": "cut off',
    b"[" * 3_000 + b"]" * 3_000,
    b"[" + b"1," * 50_000 + b"1]",
    b'{"n": 1e999, "messages": NaN}',
    b'"\\ud800"',
    b'{"prompt_id": 7, "messages": {"role": []}}',
)
"""Messages that no stage can read, each bad in a way of its own."""


class Operators:
    """Disturbances of the servers' configuration, and messages of foreign producers.

    Args:
        run: of the prompts that foreign producers send again.
    """

    def __init__(self, pipeline: PipelineUnderTest, run: str) -> None:
        self._pipeline = pipeline
        self._run = run

    async def attach_replica(self, draw: Random) -> None:
        """A replica follows Redis for some seconds, then it is gone."""
        self._pipeline.faults.add("redis-replica", "redis")
        folder = self._pipeline.folder / f"replica-{draw.randrange(10**6)}"
        replica = RedisServer(folder, free_port())
        try:
            await asyncio.to_thread(_follow, replica, self._pipeline.backend.servers.redis.port)
            await asyncio.sleep(draw.uniform(3, 8))
        finally:
            await asyncio.to_thread(replica.stop)

    async def allow_eviction(self, draw: Random) -> None:
        """Redis may evict any key for some seconds; nobody may trust it meanwhile."""
        self._pipeline.faults.add("redis-evicting", "redis")
        await asyncio.to_thread(self._set_policy, "allkeys-lru")
        try:
            await asyncio.sleep(draw.uniform(1, 5))
        finally:
            await asyncio.to_thread(self._set_policy, "noeviction")

    def _set_policy(self, policy: str) -> None:
        with redis.Redis.from_url(self._pipeline.backend.redis, socket_timeout=5) as client:
            client.config_set("maxmemory-policy", policy)

    async def require_too_many_replicas(self, draw: Random) -> None:
        """Every write is refused for a while, as when brokers are missing."""
        pipeline = self._pipeline
        fault = pipeline.faults.add("below-min-isr", "kafka")
        await require_replicas(pipeline.backend, pipeline.prefix, pipeline.backend.brokers + 1)
        try:
            await asyncio.sleep(draw.uniform(5, 30))
        finally:
            await require_replicas(
                pipeline.backend, pipeline.prefix, pipeline.backend.usual_min_isr
            )
            fault.until = fault.at

    async def add_partition(self, draw: Random) -> None:
        """Every topic gets one more partition, and a foreign producer fills those of prompts."""
        pipeline = self._pipeline
        number = await partition_count(pipeline.backend, pipeline.prefix)
        if number < pipeline.partitions + MOST_ADDED:
            pipeline.faults.add("partition-added", "kafka")
            await add_partitions(pipeline.backend, pipeline.prefix, number + 1)
        await self._send_again(draw, await partition_count(pipeline.backend, pipeline.prefix))

    async def _send_again(self, draw: Random, partitions: int) -> None:
        """Known prompts arrive once more, in partitions of the foreign producer's choice."""
        known = range(min(STRANGERS, len(self._pipeline.published)))
        producer = AIOKafkaProducer(bootstrap_servers=self._pipeline.backend.kafka)
        with suppress(KafkaError):  # the broker is down at the moment, which is a fault too
            await producer.start()
            for number in known:
                await self._put(producer, prompt(self._run, number), draw.randrange(partitions))
        await producer.stop()

    async def _put(self, producer: AIOKafkaProducer, again: Prompt, partition: int) -> None:
        topic, key = self._pipeline.prefix + PROMPTS, again.prompt_id.encode()
        await producer.send_and_wait(topic, encode(again), key, partition=partition)

    async def poison(self, draw: Random) -> None:
        """Messages that nobody can read, on the topics that are worked on."""
        topic = draw.choice((PROMPTS, COMPLETIONS, SCORED, RECORDS, REJECTS))
        self._pipeline.faults.add("poison", topic)
        async with sending(self._pipeline.backend.kafka, self._pipeline.prefix) as send:
            for value in POISON:
                await send(topic, f"{draw.getrandbits(64):x}", value)


def _follow(replica: RedisServer, port: int) -> None:
    replica.start()
    replica.wait_ready()
    with redis.Redis.from_url(replica.url, socket_timeout=5) as client:
        client.replicaof("127.0.0.1", port)
