"""Sending prompts to the topic in batches by partition."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from promptmill.runtime.errors import Poison, Unavailable
from promptmill.stream.ports import BatchSender, Message

PATIENCE_S: Final = 60.0
PAUSES_S = (0.1, 0.2, 0.5, 1.0, 2.0)
BATCH_BYTES: Final = 192 * 1024
"""The size of a batch: below the producer's limit, with room for Kafka's overhead."""

MESSAGE_OVERHEAD_BYTES: Final = 32


class AnswersSender(BatchSender, Protocol):
    """A sender that sends the answers to prompts before the prompts."""

    def keep(self, completion: Message) -> None:
        """Keep the completion until the prompt with the same key is sent."""


Refusals: TypeAlias = dict[bytes, Poison]
"""The errors of messages that the broker refuses permanently, by the message's key."""


@dataclass(slots=True, eq=False)
class PartitionBatch:
    """A batch of messages for one partition; ``sending`` is the task that sends it, if begun."""

    partition: int
    messages: list[Message] = field(default_factory=list)
    size: int = 0
    sending: asyncio.Task[Refusals] | None = None

    @property
    def is_settled(self) -> bool:
        """Whether every message is acknowledged or has failed."""
        return self.sending is not None and self.sending.done()

    @property
    def has_failed(self) -> bool:
        """Whether the broker was unavailable for longer than ``patience_s``."""
        return self.is_settled and self.sending is not None and bool(self.sending.exception())


class Outbox:
    """Collects messages by partition and sends them in batches.

    Args:
        topic: the topic's full name.
        partition_of: returns the partition of a key.
        patience_s: seconds for which one batch is retried while the broker is unavailable.
        answers: the sender to use if prompts are published with their answers.
    """

    def __init__(
        self,
        sender: BatchSender,
        topic: str,
        partition_of: Callable[[bytes], int],
        patience_s: float = PATIENCE_S,
        answers: AnswersSender | None = None,
    ) -> None:
        self._answers = answers
        self._sender = sender if answers is None else answers
        self._topic = topic
        self._partition_of = partition_of
        self._patience_s = patience_s
        self._open: dict[int, PartitionBatch] = {}

    @property
    def takes_answers(self) -> bool:
        """Whether prompts are published with their answers."""
        return self._answers is not None

    def add(self, message: Message, answers: Message | None = None) -> PartitionBatch:
        """Add a message to the batch of its partition; a full batch is sent first.

        Args:
            answers: the completion that is sent before the prompt.
        """
        if self._answers is not None and answers is not None:
            self._answers.keep(answers)
        partition = self._partition_of(message.key)
        size = message.size + MESSAGE_OVERHEAD_BYTES
        batch = self._open.get(partition)
        if batch is not None and batch.size + size > BATCH_BYTES:
            self._start(batch)
            batch = None
        if batch is None:
            batch = self._open[partition] = PartitionBatch(partition)
        batch.messages.append(message)
        batch.size += size
        return batch

    def flush(self) -> None:
        """Begin to send all messages."""
        for batch in self._open.values():
            self._start(batch)
        self._open.clear()

    def _start(self, batch: PartitionBatch) -> None:
        messages, batch.messages = batch.messages, []
        batch.sending = asyncio.create_task(self._send(batch.partition, messages))

    async def _send(self, partition: int, messages: Sequence[Message]) -> Refusals:
        """Send a batch; halve a refused one until the refused messages are alone."""
        try:
            await self._send_patiently(partition, messages)
        except Poison as error:
            if len(messages) == 1:
                return {messages[0].key: error}
            half = len(messages) // 2
            first = await self._send(partition, messages[:half])
            return first | await self._send(partition, messages[half:])
        return {}

    async def _send_patiently(self, partition: int, messages: Sequence[Message]) -> None:
        deadline, attempt = time.monotonic() + self._patience_s, 0
        while True:
            try:
                return await self._sender.send_batch(self._topic, partition, messages)
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(PAUSES_S[min(attempt, len(PAUSES_S) - 1)])
                attempt += 1
