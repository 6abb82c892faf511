"""Publishes messages with a supervised idempotent producer.

A message belongs to its producer until it is acknowledged. While the cluster accepts no writes
(too few in-sync replicas, no leader, no broker), the same producer retries with the same sequence
numbers, so that the broker drops duplicates, and the caller waits. A producer is replaced only if
its sequence is broken, that is, after a batch has failed permanently. The old producer ends before
the new one starts; callers send undelivered messages again, and later stages drop duplicates.
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
from promptmill.stream.layout import DataSetLayout
from promptmill.stream.ports import Message
from promptmill_schemas.headers import Headers

log = structlog.get_logger(__name__)

RECORD_OVERHEAD_BYTES = 1024

FLUSH_LIMIT_S = 5.0
"""Seconds to wait for acknowledgements at a stop; records without one are processed again."""


class KafkaSender:
    """Publishes messages with acks=all.

    Args:
        bootstrap: ``host:port[,host:port…]``.
        client_id: name in the broker's logs and metrics.
        compression: ``zstd``, ``lz4``, ``gzip``, ``snappy`` or ``None``.
        delivery_timeout_s: seconds without an acknowledgement after which this is reported.
        gives_up: whether to raise ``Unavailable`` then, for interactive commands; otherwise a
            warning is logged and the caller continues to wait.
        layout: the layout of the data set; without it, keys are spread over the current
            partitions of each topic.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        client_id: str,
        compression: str | None = "lz4",
        delivery_timeout_s: float = 60.0,
        gives_up: bool = False,
        layout: DataSetLayout | None = None,
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
        """The number of messages that are not acknowledged yet."""
        return len(self._waiting)

    @property
    def unacknowledged_s(self) -> float:
        """The age of the oldest of them in seconds; 0 if there is none."""
        return self._waiting.oldest_s

    @property
    def replaced(self) -> int:
        """The number of times that the producer was replaced."""
        return self._producers.replaced

    async def start(self) -> None:
        """Connect."""
        await self._producers.start()
        self._watch = asyncio.create_task(self._watch_waiting())

    async def stop(self) -> None:
        """Send queued messages for a few seconds at most, then disconnect.

        Messages that are still not acknowledged fail with ``Unavailable``.
        """
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self._producers.stop(min(self._timeout_s, FLUSH_LIMIT_S))

    async def send(self, topic: str, key: bytes, value: bytes, headers: Headers = ()) -> None:
        """Publish a message, and return when all in-sync replicas have it.

        This waits while the cluster accepts no writes. The cancellation of a caller does not
        withdraw the message, which may still reach the topic.

        Raises:
            Poison: the broker will never accept it (too large, or not allowed on this topic).
            Misconfigured: the topic does not exist, this client may not write to it, or the
                broker's clock differs from the local one by more than an hour.
            Unavailable: the producer was replaced; the message may still be on the topic.
        """
        message = Message(key, value, headers)
        if message.size > MAX_MESSAGE_BYTES - RECORD_OVERHEAD_BYTES:
            raise too_large(topic, len(value))
        with self._waiting.one(topic) as waiting:
            await self._deliver(waiting, message)

    async def _deliver(self, waiting: Waiting, message: Message) -> None:
        producer = self._producers.current or await self._producers.replace(None)
        try:
            waiting.acknowledged = await self._queue(
                producer, waiting, lambda: producer.queue(waiting.topic, *message)
            )
            acknowledged = await waiting.acknowledged
            check_clock(waiting.topic, acknowledged, self._waiting.age_s(waiting))
        except REFUSED_BATCH as error:
            await self._producers.replace(producer)
            log.info("batch_refused", topic=waiting.topic, error=repr(error))
            await self._send_alone(waiting, message)
        except KafkaError as error:
            raise await self._failure(producer, waiting.topic, error) from error

    async def _queue(
        self,
        producer: AbortableProducer,
        waiting: Waiting,
        put: Callable[[], Awaitable[asyncio.Future[Any]]],
    ) -> asyncio.Future[Any]:
        """Queue the message as soon as the producer has room for it.

        Args:
            put: tries once to queue the message.
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

    async def _send_alone(self, waiting: Waiting, message: Message) -> None:
        """Send the message as the only one of its batch, so that a refusal is about it."""
        producer = self._producers.current or await self._producers.replace(None)
        try:
            waiting.acknowledged = await producer.send_alone(waiting.topic, *message)
            await waiting.acknowledged
        except REFUSED_BATCH as error:
            await self._producers.replace(producer)
            raise refused_record(waiting.topic, len(message.value), error) from error
        except KafkaError as error:
            raise await self._failure(producer, waiting.topic, error) from error

    async def _failure(
        self, producer: AbortableProducer, topic: str, error: KafkaError
    ) -> Fatal | Unavailable:
        """Return the error for the caller; the producer has lost a batch, so it is replaced."""
        if refusal := settings_at_fault(topic, error):
            return refusal
        if not isinstance(error, ProducerClosed):
            log.warning("producer_failed", topic=topic, error=repr(error))
        await self._producers.replace(producer)
        return Unavailable(f"a message for topic {topic} was not acknowledged: {error!r}")

    # Overdue messages

    async def _watch_waiting(self) -> None:
        """Report overdue messages.

        One task serves all messages: a timer for each would cost a quarter of the throughput.
        """
        while True:
            await asyncio.sleep(min(1.0, self._timeout_s / 4))
            try:
                await self._look_at_waiting()
            except KafkaError as error:
                log.info("brokers_unreachable", error=repr(error))
            except Exception:  # the watch must continue; its failure is logged
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
        """Return the topics that do not exist; none if no broker answers."""
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
