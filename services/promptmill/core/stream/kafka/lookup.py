"""Single messages read back from their logs, outside of any consumer group."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from promptmill.core.errors import Unavailable
from promptmill.core.stream.kafka.clients import log_consumer
from promptmill.core.stream.ports import Delivery, Partition

LIMIT_S = 30.0
POLL_MS = 200
FETCH_BYTES = 64 * 1024
"""Of one partition in one answer. The broker gives the first message whatever its size."""


async def messages_at(
    bootstrap: str, client_id: str, offsets: Mapping[Partition, int]
) -> dict[Partition, Delivery]:
    """The message at this offset of each partition; offsets without a message are left out.

    Raises:
        Unavailable: no answer within 30 s, or an offset lies outside its log (by now).
    """
    if not offsets:
        return {}
    consumer = log_consumer(
        bootstrap,
        f"{client_id}-lookup",
        fetch_max_wait_ms=POLL_MS,
        max_partition_fetch_bytes=FETCH_BYTES,
    )
    try:
        async with asyncio.timeout(LIMIT_S):
            await consumer.start()
            return await _first_of_each(consumer, offsets)
    except (KafkaError, TimeoutError) as error:
        named = ", ".join(f"{partition} at {offset}" for partition, offset in offsets.items())
        raise Unavailable(f"Kafka at {bootstrap} did not return {named}: {error!r}") from error
    finally:
        await consumer.stop()


async def message_at(
    bootstrap: str, client_id: str, partition: Partition, offset: int
) -> Delivery | None:
    """The message at this offset; ``None`` when the log does not hold it (any more).

    Raises:
        Unavailable: no answer within 30 s.
    """
    try:
        return (await messages_at(bootstrap, client_id, {partition: offset})).get(partition)
    except Unavailable as error:
        if isinstance(error.__cause__, OffsetOutOfRangeError):
            return None
        raise


async def _first_of_each(
    consumer: AIOKafkaConsumer, offsets: Mapping[Partition, int]
) -> dict[Partition, Delivery]:
    """What the log gives first from each offset on, kept where it is the message asked for."""
    consumer.assign([TopicPartition(*partition) for partition in offsets])
    for partition, offset in offsets.items():
        consumer.seek(TopicPartition(*partition), offset)
    waiting, found = dict(offsets), {}
    while waiting:
        for place, records in (await consumer.getmany(timeout_ms=POLL_MS)).items():
            partition, record = Partition(*place), records[0]
            consumer.pause(place)
            if record.offset == waiting.pop(partition, None):
                found[partition] = Delivery(
                    partition, record.offset, record.key, record.value, record.timestamp
                )
    return found
