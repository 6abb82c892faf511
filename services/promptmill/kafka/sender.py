"""A supervised idempotent producer.

A message belongs to its producer until it is acknowledged: while the cluster takes nothing
(too few replicas in sync, no leader, no broker) the same producer tries again by itself, with
the same sequence numbers, so that the broker drops what it has already, and the caller waits.
A producer is replaced only when its sequence is broken, that is, when a batch has failed for
good. The old one is ended before the new one begins; what it had not delivered is sent again by
the callers, and a message that is on the topic twice is absorbed downstream.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import structlog
from aiokafka.errors import (
    KafkaError,
    KafkaTimeoutError,
    ProducerClosed,
    UnknownTopicOrPartitionError,
)

from promptmill.kafka.acknowledgements import Unacknowledged, Waiting, check_clock
from promptmill.kafka.errors import (
    REFUSED_BATCH,
    no_such_topic,
    refused_record,
    settings_at_fault,
    too_large,
)
from promptmill.kafka.partitioning import by_layout
from promptmill.kafka.producer import AbortableProducer
from promptmill.kafka.producer_supervisor import MAX_MESSAGE_BYTES, ProducerSupervisor
from promptmill.runtime.errors import Fatal, Unavailable
from promptmill.stream.layout import Layout

log = structlog.get_logger(__name__)

RECORD_OVERHEAD_BYTES = 1024

FLUSH_LIMIT_S = 5.0
"""What is not acknowledged then belongs to work that is not committed: it is done again."""


class KafkaSender:
    """Publishes messages with acks=all.

    Args:
        bootstrap: ``host:port[,host:port…]``.
        client_id: name in the broker's logs and metrics.
        compression: ``zstd``, ``lz4``, ``gzip``, ``snappy`` or ``None``.
        delivery_timeout_s: how long a message may stay unacknowledged before that is reported.
        gives_up: report it to the caller as ``Unavailable``, for commands in front of which a
            person waits; otherwise it is logged, and the caller waits.
        layout: of the data set; without it, keys are spread over the partitions that each
            topic has now.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        client_id: str,
        compression: str | None = "lz4",
        delivery_timeout_s: float = 60.0,
        gives_up: bool = False,
        layout: Layout | None = None,
    ) -> None:
        self._bootstrap = bootstrap
        self._timeout_s = delivery_timeout_s
        self._gives_up = gives_up
        self._now = time.monotonic
        self._producers = ProducerSupervisor(
            bootstrap,
            client_id=client_id,
            compression=compression,
            timeout_s=delivery_timeout_s,
            partitioner=None if layout is None else by_layout(layout),
        )
        self._waiting = Unacknowledged(self._now)
        self._watch: asyncio.Task[None] | None = None
        self._reported_at = 0.0

    @property
    def unacknowledged(self) -> int:
        """Messages that are not acknowledged yet."""
        return len(self._waiting)

    @property
    def unacknowledged_s(self) -> float:
        """For how long the oldest of them has been waiting; 0 without any."""
        return self._waiting.oldest_s

    @property
    def replaced(self) -> int:
        """How often the producer was replaced."""
        return self._producers.replaced

    async def start(self) -> None:
        """Connect."""
        await self._producers.start()
        self._watch = asyncio.create_task(self._watch_waiting())

    async def stop(self) -> None:
        """Send what is queued, for a few seconds at most, then disconnect.

        What is still not acknowledged then fails with ``Unavailable``.
        """
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self._producers.stop(min(self._timeout_s, FLUSH_LIMIT_S))

    async def send(self, topic: str, key: bytes, value: bytes) -> None:
        """Publish; returns when all in-sync replicas have the message.

        Waits for as long as the cluster takes nothing. A caller that is cancelled does not take
        the message back: it may still reach the topic.

        Raises:
            Poison: the broker will never take it (too large, not allowed on this topic).
            Misconfigured: the topic does not exist, or may not be written to, or the broker's
                clock and ours are more than an hour apart.
            Unavailable: the producer was replaced; the message may be on the topic all the same.
        """
        if len(key or b"") + len(value) > MAX_MESSAGE_BYTES - RECORD_OVERHEAD_BYTES:
            raise too_large(topic, len(value))
        with self._waiting.one(topic) as waiting:
            await self._deliver(waiting, key, value)

    async def _deliver(self, waiting: Waiting, key: bytes, value: bytes) -> None:
        producer = self._producers.current or await self._producers.replace(None)
        try:
            waiting.acknowledged = await self._queue(
                producer, waiting, lambda: producer.send(waiting.topic, value, key)
            )
            acknowledged = await waiting.acknowledged
            check_clock(waiting.topic, acknowledged, self._waiting.age_s(waiting))
        except REFUSED_BATCH as error:
            await self._producers.replace(producer)
            log.info("batch_refused", topic=waiting.topic, error=repr(error))
            await self._send_alone(waiting, key, value)
        except KafkaError as error:
            raise await self._failure(producer, waiting.topic, error) from error

    async def _queue(
        self,
        producer: AbortableProducer,
        waiting: Waiting,
        put: Callable[[], Awaitable[asyncio.Future[Any]]],
    ) -> asyncio.Future[Any]:
        """Hand the message to the producer as soon as it takes one; nothing is sent before.

        Args:
            put: one attempt.
        """
        while True:
            try:
                queued = await put()
            except KafkaTimeoutError:
                log.debug("producer_full", topic=waiting.topic)
            except UnknownTopicOrPartitionError:
                if await self._missing(producer, {waiting.topic}):
                    raise no_such_topic(waiting.topic) from None
            else:
                return queued
            if self._gives_up and self._waiting.age_s(waiting) > self._timeout_s:
                raise self._not_acknowledged(waiting.topic)

    async def _send_alone(self, waiting: Waiting, key: bytes, value: bytes) -> None:
        """In a batch of its own, so that the broker's refusal is about this very message."""
        producer = self._producers.current or await self._producers.replace(None)
        try:
            waiting.acknowledged = await producer.send_alone(waiting.topic, key, value)
            await waiting.acknowledged
        except REFUSED_BATCH as error:
            await self._producers.replace(producer)
            raise refused_record(waiting.topic, len(value), error) from error
        except KafkaError as error:
            raise await self._failure(producer, waiting.topic, error) from error

    async def _failure(
        self, producer: AbortableProducer, topic: str, error: KafkaError
    ) -> Fatal | Unavailable:
        """What the caller is told; the producer has lost a batch, so it is replaced."""
        if refusal := settings_at_fault(topic, error):
            return refusal
        if not isinstance(error, ProducerClosed):
            log.warning("producer_failed", topic=topic, error=repr(error))
        await self._producers.replace(producer)
        return Unavailable(f"a message for topic {topic} was not acknowledged: {error!r}")

    # What waits for long

    async def _watch_waiting(self) -> None:
        """Look after what stays unacknowledged.

        One task for all: a timer for each message would cost a quarter of the throughput.
        """
        while True:
            await asyncio.sleep(min(1.0, self._timeout_s / 4))
            try:
                await self._look_at_waiting()
            except KafkaError as error:
                log.info("brokers_unreachable", error=repr(error))
            except Exception:  # the watch must go on; its failure is told
                log.exception("sender_watch_failed")

    async def _look_at_waiting(self) -> None:
        late = self._waiting.longer_than(self._timeout_s)
        if not late:
            return
        if self._gives_up:
            for waiting in late:
                waiting.fail(self._not_acknowledged(waiting.topic))
            return
        if self._now() - self._reported_at >= self._timeout_s:
            self._reported_at = self._now()
            await self._report(late)

    async def _report(self, late: Collection[Waiting]) -> None:
        topics = {waiting.topic for waiting in late}
        log.warning(
            "messages_unacknowledged",
            topics=sorted(topics),
            messages=len(late),
            seconds=round(self.unacknowledged_s),
            remedy="the brokers accept no writes: check their in-sync replicas and disks",
        )
        producer = self._producers.current
        missing = await self._missing(producer, topics) if producer is not None else set()
        for waiting in late:
            if waiting.topic in missing:
                waiting.fail(no_such_topic(waiting.topic))

    async def _missing(self, producer: AbortableProducer, topics: set[str]) -> set[str]:
        """Those that the cluster does not have; none while no broker can be asked."""
        try:
            cluster = await producer.client.fetch_all_metadata()
        except KafkaError as error:
            log.info("brokers_unreachable", error=repr(error))
            return set()
        return {topic for topic in topics if topic not in cluster.topics()}

    def _not_acknowledged(self, topic: str) -> Unavailable:
        return Unavailable(
            f"a message for topic {topic} was not acknowledged within {self._timeout_s:g} s: the "
            f"brokers at {self._bootstrap} accept no writes; check their in-sync replicas and "
            "disks"
        )
