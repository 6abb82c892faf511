"""Sends many messages for one partition as one batch, which is acknowledged as a whole.

A future and a task for each message cost more than the message itself. When thousands of messages
are available at once, as in a file of prompts, a batch costs as much as a single message.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder

from promptmill.kafka.acknowledgements import Waiting, check_clock
from promptmill.kafka.errors import REFUSED_BATCH, no_such_topic, refused_record, too_large
from promptmill.kafka.producer import AbortableProducer
from promptmill.kafka.producer_supervisor import MAX_MESSAGE_BYTES
from promptmill.kafka.sender import RECORD_OVERHEAD_BYTES, KafkaSender
from promptmill.runtime.errors import Poison
from promptmill.stream.ports import Message


class KafkaBatchSender(KafkaSender):
    """A :class:`KafkaSender` that also sends batches. It takes the same arguments."""

    async def partitioner(self, topic: str) -> Callable[[bytes], int]:
        """Return a function that gives the partition of a key, for the topic's current partitions.

        Raises:
            Misconfigured: the topic does not exist.
            Unavailable: the brokers do not answer.
        """
        producer = self._producers.current or await self._producers.replace(None)
        try:
            known = await producer.partitions_for(topic)
        except KafkaError as error:
            raise await self._failure(producer, topic, error) from error
        if not known:
            raise no_such_topic(topic)
        every, choose = sorted(known), self._producers.partitioner
        return lambda key: choose(key, every, every)

    async def send_batch(self, topic: str, partition: int, messages: Sequence[Message]) -> None:
        """Publish all messages or none, and wait until all in-sync replicas have them.

        Raises:
            Poison: the broker will never accept one of them, or they do not fit into one batch;
                none of them is on the topic.
            Misconfigured, Unavailable: as :meth:`send`.
        """
        largest = max(message.size for message in messages)
        if largest > MAX_MESSAGE_BYTES - RECORD_OVERHEAD_BYTES:
            raise too_large(topic, largest)
        with self._waiting.one(topic) as waiting:
            await self._deliver_batch(waiting, partition, messages)

    async def _deliver_batch(
        self, waiting: Waiting, partition: int, messages: Sequence[Message]
    ) -> None:
        topic = waiting.topic
        producer = self._producers.current or await self._producers.replace(None)
        batch = _batch_of(producer, topic, messages)
        try:
            waiting.acknowledged = await self._queue(
                producer, waiting, lambda: producer.send_batch(batch, topic, partition=partition)
            )
            acknowledged = await waiting.acknowledged
            check_clock(topic, acknowledged, self._waiting.age_s(waiting))
        except REFUSED_BATCH as error:
            await self._producers.replace(producer)
            largest = max(len(message.value) for message in messages)
            raise refused_record(topic, largest, error) from error
        except KafkaError as error:
            raise await self._failure(producer, topic, error) from error


def _batch_of(producer: AbortableProducer, topic: str, messages: Sequence[Message]) -> BatchBuilder:
    batch = producer.create_batch()
    for key, value, headers in messages:
        if batch.append(key=key, value=value, timestamp=None, headers=[*headers]) is None:
            raise Poison(f"{len(messages)} messages for {topic} are more than fits into a batch")
    batch.close()
    return batch
