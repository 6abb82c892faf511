"""Reads topics without a consumer group, so that it neither commits nor causes rebalances."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Collection, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError, OffsetOutOfRangeError

from promptmill.kafka.client import KafkaAdmin, admin_client, log_consumer
from promptmill.kafka.cluster import count_partitions
from promptmill.kafka.login import LoginRefused
from promptmill.runtime.errors import Misconfigured, Unavailable
from promptmill.stream.lost_records import LogCheck
from promptmill.stream.ports import Delivery, Partition, Position
from promptmill_schemas.headers import kept

Answer = TypeVar("Answer")

COORDINATOR_WITHIN_S = 20.0
"""Seconds to wait for a coordinator, which does not answer while it is moving or loading."""

COORDINATOR_PAUSE_S = 0.5

MAX_RECORDS = 2_000

LIMIT_S = 30.0
POLL_MS = 200
FETCH_BYTES = 64 * 1024
"""The limit for one partition in one response; the first message may exceed it."""


class CoordinatorSilent(Unavailable):
    """The coordinator of a group is moving or still loading."""


async def committed_positions(
    admin: KafkaAdmin, group: str, partitions: Collection[Partition]
) -> dict[Partition, Position]:
    """Return the committed positions of a group with metadata, for partitions that have one.

    Raises:
        CoordinatorSilent: the coordinator did not answer for all partitions.
        KafkaError: an error of the client, which callers translate.
    """
    wanted = [TopicPartition(*partition) for partition in partitions]
    answer = await admin.list_consumer_group_offsets(group, partitions=wanted)
    if missing := [str(Partition(*p)) for p in wanted if p not in answer]:
        # The client drops the broker's error for these partitions.
        raise CoordinatorSilent(f"the coordinator did not answer for {', '.join(missing)}")
    return {
        Partition(*partition): Position(found.offset, found.metadata or "")
        for partition, found in answer.items()
        if found.offset >= 0
    }


def delivery_of(partition: Partition, record: Any) -> Delivery:
    """Return the client's record as a delivery with its headers."""
    headers = kept(record.headers) if record.headers else ()
    return Delivery(partition, record.offset, record.key, record.value, record.timestamp, headers)


async def messages_at(
    bootstrap: str, client_id: str, offsets: Mapping[Partition, int]
) -> dict[Partition, Delivery]:
    """Read the message at one offset of each partition; offsets without a message are omitted.

    Raises:
        Unavailable: no answer within 30 s, or an offset is outside its log.
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
    """Read the message at this offset; ``None`` if the log does not hold it or has deleted it.

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
    """Fetch the first message at or after each offset, and keep it if it has that offset."""
    consumer.assign([TopicPartition(*partition) for partition in offsets])
    for partition, offset in offsets.items():
        consumer.seek(TopicPartition(*partition), offset)
    waiting, found = dict(offsets), {}
    while waiting:
        for place, records in (await consumer.getmany(timeout_ms=POLL_MS)).items():
            partition, record = Partition(*place), records[0]
            consumer.pause(place)
            if record.offset == waiting.pop(partition, None):
                found[partition] = delivery_of(partition, record)
    return found


class LogReader:
    """Reads partitions from given offsets, and the positions of logs and groups.

    Args:
        bootstrap: ``host:port[,host:port…]``.
        client_id: name in the broker's logs and metrics.
    """

    def __init__(self, bootstrap: str, *, client_id: str) -> None:
        self._bootstrap = bootstrap
        self._admin = admin_client(bootstrap, client_id)
        self._consumer = log_consumer(bootstrap, client_id, fetch_max_wait_ms=POLL_MS)
        # A broker answers the requests of one connection in order, so a request for offsets would
        # wait for a fetch before it.
        self._asker = log_consumer(bootstrap, client_id)

    async def __aenter__(self) -> Self:
        try:
            await self._answer(self._admin.start())
            await self._answer(self._consumer.start())
            await self._answer(self._asker.start())
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        await self._consumer.stop()
        await self._asker.stop()
        await self._admin.close()

    async def partitions(self, topics: Collection[str]) -> list[Partition]:
        """Return all partitions of these topics.

        Raises:
            Misconfigured: a topic was not found in three requests.
        """
        counts = await self._answer(count_partitions(self._admin, self._bootstrap, topics))
        return [Partition(name, n) for name in sorted(counts) for n in range(counts[name])]

    async def bounds(self, partitions: Collection[Partition]) -> dict[Partition, tuple[int, int]]:
        """Return the first offset and the end offset of each partition's log."""
        wanted = [TopicPartition(*partition) for partition in partitions]
        first = await self._answer(self._asker.beginning_offsets(wanted))
        end = await self._answer(self._asker.end_offsets(wanted))
        return {Partition(*p): (first[p], end[p]) for p in wanted}

    async def committed(
        self, group: str, partitions: Collection[Partition]
    ) -> dict[Partition, int]:
        """Return the committed offset of the group, for partitions that have one."""
        deadline = time.monotonic() + COORDINATOR_WITHIN_S
        while True:
            asking = committed_positions(self._admin, group, partitions)
            try:
                return {p: at.offset for p, at in (await self._answer(asking)).items()}
            except GroupCoordinatorNotAvailableError:  # no group has ever joined
                return {}
            except CoordinatorSilent:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(COORDINATOR_PAUSE_S)

    async def lags(self, groups: Mapping[str, Collection[str]]) -> dict[str, int]:
        """Return the lag of each group: the number of messages that it has not committed.

        Args:
            groups: the full names of the topics by full name of the group.
        """
        everything = {topic for topics in groups.values() for topic in topics}
        bounds = await self.bounds(await self.partitions(everything))
        return {group: await self._lag(group, topics, bounds) for group, topics in groups.items()}

    async def _lag(
        self, group: str, topics: Collection[str], bounds: Mapping[Partition, tuple[int, int]]
    ) -> int:
        own = {partition: at for partition, at in bounds.items() if partition.topic in topics}
        committed = await self.committed(group, own)
        return sum(max(0, end - committed.get(p, first)) for p, (first, end) in own.items())

    async def read(
        self, topic: str, starts: Mapping[int, int], check: LogCheck | None = None
    ) -> AsyncIterator[list[Delivery]]:
        """Read batches from ``starts`` to the current end of the log.

        Args:
            topic: full name.
            starts: the first offset by partition; other partitions are read from their beginning.
            check: skips accepted gaps; without it, no record may be missing.

        Raises:
            Misconfigured: a start is outside the log and not in an accepted gap.
        """
        bounds = await self.bounds(await self.partitions([topic]))
        if check is not None:
            starts = await _resumed(starts, bounds, check)
        ends = {partition: end for partition, (_, end) in bounds.items()}
        positions = {
            partition: _start(partition, starts.get(partition.number, first), first, end)
            for partition, (first, end) in bounds.items()
        }
        open_ = {p: at for p, at in positions.items() if at < ends[p]}
        if not open_:
            # The client does not notice a close directly after a change of assignment.
            return
        self._seek(open_)
        while open_:
            batch = await self._poll()
            if batch:
                yield [d for d in batch if d.offset < ends[d.partition]]
            for partition in list(open_):
                if await self._position(partition) >= ends[partition]:
                    del open_[partition]

    async def follow(self, positions: Mapping[Partition, int]) -> AsyncIterator[list[Delivery]]:
        """Yield batches from ``positions`` indefinitely; a batch without new messages is empty."""
        self._seek(positions)
        while True:
            yield await self._poll()

    def _seek(self, positions: Mapping[Partition, int]) -> None:
        self._consumer.assign([TopicPartition(*p) for p in positions])
        for partition, offset in positions.items():
            self._consumer.seek(TopicPartition(*partition), offset)

    async def _position(self, partition: Partition) -> int:
        return int(await self._answer(self._consumer.position(TopicPartition(*partition))))

    async def _poll(self) -> list[Delivery]:
        fetched: dict[TopicPartition, list[Any]] = await self._answer(
            self._consumer.getmany(timeout_ms=POLL_MS, max_records=MAX_RECORDS)
        )
        return [
            Delivery(Partition(*p), r.offset, r.key, r.value, r.timestamp)
            for p, records in fetched.items()
            for r in records
        ]

    async def _answer(self, call: Awaitable[Answer]) -> Answer:
        try:
            return await call
        except GroupCoordinatorNotAvailableError:
            raise
        except LoginRefused as error:
            raise Misconfigured(str(error)) from error
        except KafkaError as error:
            raise Unavailable(
                f"Kafka at {self._bootstrap} does not answer ({error}): start the local stack "
                f"with 'promptmill up', or correct PROMPTMILL_KAFKA"
            ) from error


async def _resumed(
    starts: Mapping[int, int], bounds: Mapping[Partition, tuple[int, int]], check: LogCheck
) -> dict[int, int]:
    """Return the starts, moved to the end of accepted gaps."""
    expected = {p: starts[p.number] for p in bounds if p.number in starts}
    resumed = await check.resume(expected, bounds)
    return {partition.number: offset for partition, offset in resumed.items()}


def _start(partition: Partition, offset: int, first: int, end: int) -> int:
    if first <= offset <= end:
        return offset
    raise Misconfigured(
        f"{partition} is stored up to offset {offset}, but its log holds {first} to {end}: the "
        "topic was recreated or lost messages; use the store that belongs to this cluster"
    )
