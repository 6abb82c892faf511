"""What the broker answers to a producer, as a test wants it; and what a producer leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from aiokafka.protocol.produce import ProduceRequest

from promptmill.kafka.producer import AbortableProducer
from promptmill.kafka.sender import KafkaSender

OUT_OF_ORDER = 45
NOT_ENOUGH_REPLICAS = 19


class Answers:
    """Stands between a producer and the real broker.

    Attributes:
        error: code that every partition of a produce request is answered with, before it
            reaches the broker; ``None`` lets it through.
        after_append: the same, in place of the broker's own answer.
        requests: produce requests so far.
    """

    def __init__(self, producer: AbortableProducer) -> None:
        self.error: int | None = None
        self.after_append: int | None = None
        self.requests = 0
        self._send: Callable[..., Any] = producer.client.send
        producer.client.send = self._answer

    async def _answer(self, node: int, request: Any, **options: Any) -> Any:
        if not isinstance(request, ProduceRequest):
            return await self._send(node, request, **options)
        self.requests += 1
        if self.error is not None:
            return _refusal(request, self.error)
        answer = await self._send(node, request, **options)
        return answer if self.after_append is None else _refusal(request, self.after_append)


def _refusal(request: ProduceRequest, code: int) -> Any:
    topics = [
        (topic, [(partition, code, -1, -1, 0) for partition, _ in partitions])
        for topic, partitions in request._topics
    ]
    return SimpleNamespace(API_VERSION=7, topics=topics)


def current(sender: KafkaSender) -> AbortableProducer:
    """The sender's producer now."""
    assert sender._producers.current is not None
    return sender._producers.current


def producer_tasks() -> list[str]:
    """Tasks of aiokafka in this event loop, by the name of their coroutine."""
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    parts = ("Sender.", "AIOKafka", "MessageAccumulator.", "AbortableProducer.")
    return sorted(name for name in names if name.startswith(parts))


def senders_alive() -> int:
    """Producers of this event loop that send."""
    return sum("_sender_routine" in name for name in producer_tasks())
