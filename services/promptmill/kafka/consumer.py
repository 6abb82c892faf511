"""A member of a consumer group, on FastStream and aiokafka.

FastStream polls in a separate task and passes batches to a handler. It ignores exceptions of the
handler and restarts a crashed poll task silently, so this module watches both. FastStream never
sees a failed poll, because it polls a :class:`~promptmill.kafka.polling.PolledConsumer`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    InvalidCommitOffsetSizeError,
    KafkaError,
    OffsetMetadataTooLargeError,
)
from aiokafka.structs import OffsetAndMetadata
from faststream import AckPolicy
from faststream.kafka import KafkaMessage

from promptmill.kafka.client import admin_client, consuming_broker
from promptmill.kafka.errors import as_error
from promptmill.kafka.log_reader import committed_positions, delivery_of, messages_at
from promptmill.kafka.partitioning import CoPartitionedAssignor
from promptmill.kafka.polling import PolledConsumer, PollGuard, PollProbe
from promptmill.kafka.topic_watch import TopicWatch
from promptmill.runtime.errors import Fatal, Stale, Unavailable
from promptmill.stream.ports import Delivery, Listener, Partition, Position

if TYPE_CHECKING:
    from faststream.kafka.message import ConsumerProtocol

log = structlog.get_logger(__name__)
Answer = TypeVar("Answer")

_TOO_LARGE = (OffsetMetadataTooLargeError, InvalidCommitOffsetSizeError)

SESSION_TIMEOUT_MS = 45_000
HEARTBEAT_MS = 3_000
REBALANCE_TIMEOUT_MS = 60_000
MAX_POLL_INTERVAL_MS = 600_000
POLL_MS = 50
FETCH_BYTES = 8 * 1024 * 1024
"""The maximum size of a broker's response.

The client keeps it in addition to the backlog, also while a partition is paused."""

MAPS_REFUSED = (
    "after a crash, records that finished out of order are processed again; raise the brokers' "
    "offset.metadata.max.bytes to 4096 (their default), or have fewer partitions for each worker"
)


class KafkaSource:
    """One member of a consumer group.

    Args:
        bootstrap: ``host:port[,host:port…]``.
        group: the consumer group.
        topics: full names of the topics to consume.
        client_id: name in the broker's logs and metrics.
        instance_id: static membership: a member that returns with the same id within the
            session time-out gets its partitions back without a rebalance.
        max_records: the maximum number of records in one batch.
        session_timeout_ms: milliseconds without a heartbeat after which the member is removed.
        probe: receives the polls that fail.
    """

    def __init__(
        self,
        bootstrap: str,
        group: str,
        topics: Sequence[str],
        *,
        client_id: str,
        instance_id: str | None = None,
        max_records: int = 500,
        session_timeout_ms: int = SESSION_TIMEOUT_MS,
        probe: PollProbe | None = None,
    ) -> None:
        self._bootstrap = bootstrap
        self._client_id = client_id
        self._group = group
        self._topics = tuple(topics)
        self._guard = PollGuard(probe, self._lose)
        self._admin = admin_client(bootstrap, client_id)
        self._watch = TopicWatch(self._admin, bootstrap, topics, self._lose)
        self._broker = consuming_broker(bootstrap, client_id)
        self._subscriber = self._broker.subscriber(
            *topics,
            batch=True,
            max_records=max_records,
            batch_timeout_ms=POLL_MS,
            group_id=group,
            group_instance_id=instance_id,
            ack_policy=AckPolicy.MANUAL,
            auto_offset_reset="earliest",
            partition_assignment_strategy=[CoPartitionedAssignor],
            session_timeout_ms=session_timeout_ms,
            heartbeat_interval_ms=min(HEARTBEAT_MS, session_timeout_ms // 3),
            rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
            max_poll_interval_ms=MAX_POLL_INTERVAL_MS,
            fetch_max_wait_ms=200,
            fetch_max_bytes=FETCH_BYTES,
            listener=_Rebalances(self),
            parser=self._parse,
            decoder=_undecoded,
        )
        self._subscriber(self._on_batch)
        self._listener: Listener | None = None
        self._stopping = False
        self._has_refused_maps = False

    @property
    def listener(self) -> Listener:
        """The listener, which :meth:`start` sets."""
        if self._listener is None:
            raise Fatal("the Kafka source has not been started")
        return self._listener

    @property
    def _consumer(self) -> AIOKafkaConsumer:
        consumer = self._subscriber.consumer
        if consumer is None:
            raise Stale("the Kafka consumer has been stopped")
        return consumer

    async def start(self, listener: Listener) -> None:
        """Join the group and begin to poll."""
        self._listener = listener
        await _translated(self._admin.start())
        await self._watch.start()
        connected = cast("partial[AIOKafkaConsumer]", await _translated(self._broker.connect()))
        polled = partial(PolledConsumer, self._guard, **connected.keywords)
        self._broker.config.broker_config.builder = polled
        await _translated(self._broker.start())
        if not isinstance(self._consumer, PolledConsumer):
            raise Fatal("this version of FastStream polls its own consumer: use version 0.7.8")
        for task in self._subscriber.tasks:
            task.add_done_callback(self._on_poll_task_done)

    async def stop(self) -> None:
        """Stop polling and leave the group without a commit."""
        self._stopping = True
        await self._watch.stop()
        try:
            await self._broker.stop()
        except Exception as error:  # noqa: BLE001 - a client that failed fails again here
            log.warning("consumer_not_stopped", error=repr(error))
        await self._admin.close()

    async def check_topics(self) -> None:
        """Check that no topic was recreated since the start; see :class:`TopicWatch`."""
        await self._watch.check()

    def look_after_assignment(self, assigned: Collection[TopicPartition]) -> None:
        """Look for deleted topics in the background, because an assignment must not wait."""
        if not assigned:
            log.warning(
                "no_partitions",
                group=self._group,
                topics=list(self._topics),
                remedy=(
                    "there are more workers than partitions, or a topic was deleted; stop this "
                    "worker"
                ),
            )
        self._watch.look()

    def _on_poll_task_done(self, task: asyncio.Task[Any]) -> None:
        if self._stopping:
            return
        error = None if task.cancelled() else task.exception()
        self.listener.on_lost(error or RuntimeError("the poll loop ended unexpectedly"))

    def _lose(self, error: BaseException) -> None:
        self.listener.on_lost(error)

    async def _parse(self, batch: tuple[Any, ...]) -> KafkaMessage:
        # It is absent while the source stops.
        consumer = cast("ConsumerProtocol", self._subscriber.consumer)
        return KafkaMessage(
            body=b"",
            raw_message=batch,
            message_id="",
            correlation_id="",
            consumer=consumer,
        )

    async def _on_batch(self, records: Sequence[Any]) -> None:
        try:
            await self.listener.on_records(self._current(records))
        except Exception as error:  # noqa: BLE001 - FastStream would swallow it
            self.listener.on_lost(error)

    def _current(self, records: Sequence[Any]) -> list[Delivery]:
        """Return the records as deliveries, without those that were fetched before a seek.

        A batch may be fetched before a rebalance and delivered after it. If the position was moved
        back in between, the batch would look like a gap in the log.
        """
        deliveries, stale = [], self._overtaken(records)
        for record in records:
            partition = Partition(record.topic, record.partition)
            if partition not in stale:
                deliveries.append(delivery_of(partition, record))
        return deliveries

    def _overtaken(self, records: Sequence[Any]) -> set[Partition]:
        last = {(record.topic, record.partition): record.offset for record in records}
        subscription = self._consumer._subscription.subscription  # noqa: SLF001 - no public, synchronous view of it
        assignment = subscription.assignment if subscription else None
        stale = set()
        for (topic, number), offset in last.items():
            key = TopicPartition(topic, number)
            state = assignment.state_value(key) if assignment else None
            if state is None or not state.has_valid_position or state.position <= offset:
                stale.add(Partition(topic, number))
        return stale

    async def commit(self, positions: Mapping[Partition, Position]) -> None:
        """Commit these positions and return when the coordinator has acknowledged them.

        If the broker refuses the metadata for their size, the offsets are committed without them.

        Raises:
            Stale: this member no longer owns one of the partitions.
            Unavailable: the coordinator does not answer.
            Misconfigured: a topic was recreated, so the positions do not apply to it.
        """
        await self._watch.check()
        try:
            await self._commit(positions)
        except (CommitFailedError, IllegalStateError) as error:
            raise Stale(f"the commit was refused: {error!r}") from error
        except KafkaError as error:
            raise Unavailable(f"the commit was not acknowledged: {error!r}") from error

    async def _commit(self, positions: Mapping[Partition, Position]) -> None:
        try:
            await self._consumer.commit(_as_offsets(positions))
        except _TOO_LARGE as error:
            if not self._has_refused_maps:
                self._has_refused_maps = True
                log.warning("offset_maps_refused", error=repr(error), remedy=MAPS_REFUSED)
            plain = {partition: Position(at.offset) for partition, at in positions.items()}
            await self._consumer.commit(_as_offsets(plain))

    async def committed(self, partitions: Collection[Partition]) -> Mapping[Partition, Position]:
        """Return the committed positions of the group, with metadata."""
        return await _translated(committed_positions(self._admin, self._group, partitions))

    async def bounds(
        self, partitions: Collection[Partition]
    ) -> Mapping[Partition, tuple[int, int]]:
        """Return the first offset and the end offset of each partition's log."""
        wanted = [TopicPartition(*partition) for partition in partitions]
        try:
            first = await _translated(self._consumer.beginning_offsets(wanted))
            end = await _translated(self._consumer.end_offsets(wanted))
        except Unavailable:
            await self._watch.find()  # a deleted topic never has bounds
            raise
        return {Partition(*p): (first[p], end[p]) for p in wanted}

    async def messages_at(self, offsets: Mapping[Partition, int]) -> Mapping[Partition, Delivery]:
        """Return the message at one offset of each partition, read with a separate consumer."""
        return await messages_at(self._bootstrap, self._client_id, offsets)

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Deliver nothing from these partitions until resumed."""
        if owned := self._owned(partitions):
            self._consumer.pause(*owned)

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Deliver messages of these partitions again."""
        if owned := self._owned(partitions):
            self._consumer.resume(*owned)

    def seek(self, partition: Partition, offset: int) -> None:
        """Continue the deliveries of this partition at ``offset``."""
        for owned in self._owned([partition]):
            self._consumer.seek(owned, offset)

    def _owned(self, partitions: Iterable[Partition]) -> list[TopicPartition]:
        consumer = self._subscriber.consumer
        owned = consumer.assignment() if consumer else ()  # a stopped consumer owns nothing
        return [p for partition in partitions if (p := TopicPartition(*partition)) in owned]


class _Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]
    """Passes rebalances to the listener; an error there ends the process."""

    def __init__(self, source: KafkaSource) -> None:
        self._source = source

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        await self._tell(self._source.listener.on_revoked, revoked)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        await self._tell(self._source.listener.on_assigned, assigned)
        self._source.look_after_assignment(list(assigned))

    async def _tell(
        self,
        call: Callable[[Collection[Partition]], Awaitable[None]],
        partitions: Iterable[TopicPartition],
    ) -> None:
        try:
            await call([Partition(p.topic, p.partition) for p in partitions])
        except Exception as error:  # noqa: BLE001 - aiokafka would only log it
            self._source.listener.on_lost(error)


def _as_offsets(
    positions: Mapping[Partition, Position],
) -> dict[TopicPartition, OffsetAndMetadata]:
    return {
        TopicPartition(*partition): OffsetAndMetadata(position.offset, position.metadata)
        for partition, position in positions.items()
    }


async def _undecoded(message: KafkaMessage) -> Any:
    """Pass the raw records to FastStream's handler; the loop decodes each record itself."""
    return message.raw_message


async def _translated(call: Awaitable[Answer]) -> Answer:
    try:
        return await call
    except KafkaError as error:
        raise as_error("Kafka does not answer", error) from error
