"""Owns the producer of a sender and replaces it when its sequence is broken."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner

from promptmill.kafka.client import idempotent_producer
from promptmill.kafka.partitioning import Partitioner
from promptmill.kafka.producer import AbortableProducer
from promptmill.runtime.errors import Unavailable
from promptmill_schemas.limits import MAX_DEAD_LETTER_BYTES

log = structlog.get_logger(__name__)

MAX_BATCH_BYTES = 256 * 1024
LINGER_MS = 5
ENVELOPE_BYTES = 64 * 1024
MAX_MESSAGE_BYTES = MAX_DEAD_LETTER_BYTES + ENVELOPE_BYTES


class ProducerSupervisor:
    """Creates producers, one at a time.

    Attributes:
        partitioner: chooses the partition of a key.
        current: the current producer; ``None`` before the start and during a replacement.
        replaced: the number of replacements.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        client_id: str,
        compression: str | None,
        timeout_s: float,
        partitioner: Partitioner | None = None,
    ) -> None:
        self._bootstrap = bootstrap
        self._client_id = client_id
        self._compression = compression
        self._timeout_s = timeout_s
        self.partitioner: Partitioner = partitioner or DefaultPartitioner()
        self._stopped = False
        self._replacement: asyncio.Task[AbortableProducer] | None = None
        self._retired: set[asyncio.Task[None]] = set()
        self.current: AbortableProducer | None = None
        self.replaced = 0

    @property
    def is_replacing(self) -> bool:
        """Whether the producer is being replaced."""
        return self._replacement is not None

    async def start(self) -> None:
        """Create the first producer; raises ``Unavailable`` if no broker answers."""
        self.current = await self._new_producer()

    async def stop(self, flush_s: float) -> None:
        """Send queued messages for at most ``flush_s`` seconds, then end the producer."""
        self._stopped = True
        if self._replacement is not None:
            self._replacement.cancel()
            await asyncio.gather(self._replacement, return_exceptions=True)
        if self.current is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(flush_s):
                    await self.current.flush()
            self._retire(self.current)
            self.current = None
        await self._all_retired()

    async def replace(self, failed: AbortableProducer | None) -> AbortableProducer:
        """Return a producer other than the failed one; concurrent callers share the replacement.

        The cancellation of a caller does not cancel the replacement, because an incomplete start
        would leave connections open.
        """
        if self.current is not None and self.current is not failed:
            return self.current
        if self._stopped:
            raise self._is_stopped()
        if self._replacement is None:
            self._replacement = asyncio.create_task(self._make_other())
            self._replacement.add_done_callback(self._on_replaced)
        try:
            return await asyncio.shield(self._replacement)
        except asyncio.CancelledError:
            if not _is_cancelled():  # stop() has cancelled the replacement
                raise self._is_stopped() from None
            raise

    async def _make_other(self) -> AbortableProducer:
        """End the current producer, if any, before the next one is created."""
        if self.current is not None:
            self._retire(self.current)
            self.current = None
        await self._all_retired()
        self.current = await self._new_producer()
        self.replaced += 1
        return self.current

    def _on_replaced(self, replacement: asyncio.Task[AbortableProducer]) -> None:
        self._replacement = None
        if not replacement.cancelled():
            replacement.exception()  # raised in the task that awaits it, if any

    async def _all_retired(self) -> None:
        """Wait until all former producers have ended; cancelling this does not stop them."""
        await asyncio.gather(*map(asyncio.shield, self._retired))

    def _is_stopped(self) -> Unavailable:
        return Unavailable(f"the sender to {self._bootstrap} has been stopped")

    def _retire(self, failed: AbortableProducer) -> asyncio.Task[None]:
        task = asyncio.create_task(_abort(failed))
        self._retired.add(task)
        task.add_done_callback(self._retired.discard)
        return task

    async def _new_producer(self) -> AbortableProducer:
        producer = idempotent_producer(
            self._bootstrap,
            self._client_id,
            compression_type=self._compression,
            linger_ms=LINGER_MS,
            partitioner=self.partitioner,
            max_batch_size=MAX_BATCH_BYTES,
            max_request_size=MAX_MESSAGE_BYTES,
            request_timeout_ms=int(self._timeout_s * 500),
        )
        try:
            async with asyncio.timeout(2 * self._timeout_s):
                await producer.start()
        except (KafkaError, TimeoutError) as error:
            await asyncio.shield(self._retire(producer))
            raise Unavailable(
                f"Kafka at {self._bootstrap} does not answer ({error!r}): start the local stack "
                f"with `promptmill up`, or correct PROMPTMILL_KAFKA"
            ) from error
        except BaseException:
            self._retire(producer)
            raise
        return producer


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _abort(producer: AbortableProducer) -> None:
    try:
        await producer.abort()
    except (KafkaError, TimeoutError) as error:
        log.warning("producer_abort_failed", error=repr(error))
