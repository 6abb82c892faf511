"""A supervised idempotent producer.

An idempotent producer that meets an out-of-order sequence, an unknown producer id or a
delivery time-out cannot go on. It is replaced, and what it had not delivered is sent again
by the callers; a message that stands on the topic twice is absorbed downstream.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)

from promptmill.core.errors import Poison, Unavailable
from promptmill_schemas.limits import MAX_DEAD_LETTER_BYTES

log = structlog.get_logger(__name__)

MAX_BATCH_BYTES = 256 * 1024
LINGER_MS = 5
ENVELOPE_BYTES = 64 * 1024


class KafkaSender:
    """Publishes messages with acks=all.

    Args:
        bootstrap: ``host:port[,host:port…]``.
        client_id: name in the broker's logs and metrics.
        compression: ``zstd``, ``lz4``, ``gzip``, ``snappy`` or ``None``.
        delivery_timeout_s: how long a message may stay unacknowledged before the producer
            is replaced.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        client_id: str,
        compression: str | None = "lz4",
        delivery_timeout_s: float = 60.0,
    ) -> None:
        self._bootstrap = bootstrap
        self._client_id = client_id
        self._compression = compression
        self._timeout_s = delivery_timeout_s
        self._now = time.monotonic
        self._producer: AIOKafkaProducer | None = None
        self._outstanding: deque[tuple[float, asyncio.Future[object]]] = deque()
        self._watch: asyncio.Task[None] | None = None
        self._replacing = asyncio.Lock()
        self._retired: set[asyncio.Task[None]] = set()
        self.replaced = 0

    async def start(self) -> None:
        """Connect."""
        self._producer = await self._new_producer()
        self._watch = asyncio.create_task(self._expire())

    async def stop(self) -> None:
        """Send what is buffered, then disconnect."""
        if self._watch is not None:
            self._watch.cancel()
        if self._producer is not None:
            await _stop(self._producer, self._timeout_s)
            self._producer = None
        await asyncio.gather(*self._retired)

    async def send(self, topic: str, key: bytes, value: bytes) -> None:
        """Publish; returns when all in-sync replicas have the message."""
        producer = self._producer or await self._replace(None)
        try:
            acknowledged = await producer.send(topic, value, key)
            self._outstanding.append((self._now(), acknowledged))
            await acknowledged
        except (MessageSizeTooLargeError, RecordListTooLargeError) as error:
            raise Poison(
                f"a message of {len(value)} bytes for topic {topic} is larger than the broker "
                f"takes: raise max.message.bytes of the topic, or ask for fewer candidates"
            ) from error
        except KafkaError as error:
            log.warning("producer_failed", topic=topic, error=repr(error))
            await self._replace(producer)
            raise Unavailable(f"{topic}: not acknowledged: {error!r}") from error

    async def _expire(self) -> None:
        """Fail what stays unacknowledged for too long.

        One task for all: a timer for each message would cost a quarter of the throughput.
        """
        while True:
            await asyncio.sleep(min(1.0, self._timeout_s / 4))
            too_old = self._now() - self._timeout_s
            while self._outstanding:
                sent_at, acknowledged = self._outstanding[0]
                if not acknowledged.done():
                    if sent_at > too_old:
                        break
                    acknowledged.set_exception(KafkaTimeoutError("not acknowledged in time"))
                self._outstanding.popleft()

    async def _new_producer(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            client_id=self._client_id,
            acks="all",
            enable_idempotence=True,
            compression_type=self._compression,
            linger_ms=LINGER_MS,
            max_batch_size=MAX_BATCH_BYTES,
            max_request_size=MAX_DEAD_LETTER_BYTES + ENVELOPE_BYTES,
            request_timeout_ms=int(self._timeout_s * 500),
        )
        try:
            await producer.start()
        except KafkaError as error:
            await producer.stop()
            raise Unavailable(
                f"Kafka at {self._bootstrap} does not answer ({error!r}): start the local stack "
                f"with `promptmill up`, or correct PROMPTMILL_KAFKA"
            ) from error
        return producer

    async def _replace(self, failed: AIOKafkaProducer | None) -> AIOKafkaProducer:
        """A producer other than the failed one; the first caller makes it, the others wait."""
        async with self._replacing:
            if self._producer is not None and self._producer is not failed:
                return self._producer
            if self._producer is not None:
                self._retire(self._producer)
                self._producer = None
            self._producer = await self._new_producer()
            self.replaced += 1
            return self._producer

    def _retire(self, failed: AIOKafkaProducer) -> None:
        task = asyncio.create_task(_stop(failed, 5.0))
        self._retired.add(task)
        task.add_done_callback(self._retired.discard)


async def _stop(producer: AIOKafkaProducer, limit_s: float) -> None:
    try:
        async with asyncio.timeout(limit_s):
            await producer.stop()
    except (KafkaError, TimeoutError) as error:
        log.warning("producer_stop_failed", error=repr(error))
