"""An idempotent producer that can be aborted and never expires a message.

``AIOKafkaProducer.stop()`` sends all queued messages before it returns. If the cluster accepts no
writes, it never returns, and the producer continues to send. Also, a batch whose partition has no
leader fails after the request time-out although its sequence number is used, so later batches
would be refused. Both fixes use private parts of aiokafka;
``tests/kafka/unit/test_producer_internals.py`` lists them and fails if an upgrade changes one.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import BrokerResponseError, KafkaError, ProducerClosed, kafka_errors

from promptmill_schemas.headers import Headers

_ROUND_S = 0.1
_CLOSE_LIMIT_S = 5.0


class InvalidRecord(BrokerResponseError):  # type: ignore[misc]
    """The broker refuses a record that its topic does not allow; aiokafka lacks this error."""

    errno = 87
    message = "INVALID_RECORD"
    description = "The broker refuses the record: its topic does not allow it."


kafka_errors.setdefault(InvalidRecord.errno, InvalidRecord)


class AbortableProducer(AIOKafkaProducer):  # type: ignore[misc]
    """``AIOKafkaProducer`` with :meth:`abort`. It takes the same options."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._requests: set[asyncio.Task[None]] = set()
        self._message_accumulator._batch_ttl = math.inf
        self._sender._send_produce_req = self._tracked(self._sender._send_produce_req)

    def _tracked(self, send: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        async def tracked(node_id: int, batches: Any) -> None:
            task = asyncio.current_task()
            if task is not None:
                self._requests.add(task)
                task.add_done_callback(self._requests.discard)
            await send(node_id, batches)

        return tracked

    async def queue(
        self, topic: str, key: bytes | None, value: bytes, headers: Headers = ()
    ) -> asyncio.Future[Any]:
        """Queue a message; see :meth:`AIOKafkaProducer.send`."""
        queued: asyncio.Future[Any] = await self.send(topic, value, key, headers=[*headers])
        return queued

    async def send_alone(
        self,
        topic: str,
        key: bytes | None,
        value: bytes,
        headers: Headers = (),
        *,
        partition: int | None = None,
    ) -> asyncio.Future[Any]:
        """Queue a message as the only one of its batch; see :meth:`AIOKafkaProducer.send`."""
        await self.partitions_for(topic)
        chosen = self._partition(topic, partition, key, value, key, value)
        batch = self.create_batch()
        batch.append(key=key, value=value, timestamp=None, headers=[*headers])
        batch.close()
        acknowledged: asyncio.Future[Any] = await self.send_batch(batch, topic, partition=chosen)
        return acknowledged

    async def abort(self) -> None:
        """Stop sending and close the connections.

        Messages that are queued or not acknowledged fail with ``ProducerClosed``, and so do callers
        that wait to queue a message.
        """
        self._closed = self._message_accumulator._closed = True
        try:
            await self._end_tasks()
            await self._close_client()
        finally:
            self._fail_queued(ProducerClosed())

    async def _end_tasks(self) -> None:
        """Cancel the sender and its requests, including requests that begin in the meantime."""
        while pending := [task for task in self._tasks() if not task.done()]:
            for task in pending:
                task.cancel()
            await asyncio.wait(pending, timeout=_ROUND_S)

    def _tasks(self) -> list[asyncio.Task[None]]:
        routine = self._sender.sender_task
        return [*self._requests, *([routine] if routine is not None else [])]

    async def _close_client(self) -> None:
        """Abort the connections, because a frozen broker never reads the buffered data."""
        self.client.force_metadata_update = self._refuse_metadata
        for connection in self.client._conns.values():
            if connection._writer is not None:
                connection._writer.transport.abort()
        async with asyncio.timeout(_CLOSE_LIMIT_S):
            await self.client.close()
        update = self.client._md_update_fut
        if update is not None and not update.done():
            update.set_result(False)

    def _refuse_metadata(self) -> asyncio.Future[bool]:
        """Fail the callers that wait for a topic's partitions, which would wait indefinitely."""
        refused: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        refused.set_exception(ProducerClosed())
        refused.exception()  # not every caller awaits it
        return refused

    def _fail_queued(self, error: KafkaError) -> None:
        """Fail all batches; those that are being retried must be pending for this."""
        accumulator = self._message_accumulator
        queued = {batch for batches in accumulator._batches.values() for batch in batches}
        accumulator._batches.clear()
        accumulator._pending_batches |= {batch for batch in queued if batch.retry_count}
        for batch in queued | accumulator._pending_batches:
            batch.failure(error)
            if batch._drain_waiter.done():
                batch._drain_waiter.exception()  # waited for only by callers with a full batch
