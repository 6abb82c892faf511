"""The ports between the loops and the broker.

:mod:`promptmill.kafka` implements them with Kafka and :mod:`promptmill.testing` in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from promptmill_schemas.headers import Headers


class Message(NamedTuple):
    """A message to publish."""

    key: bytes
    value: bytes
    headers: Headers = ()

    @property
    def size(self) -> int:
        """The size in bytes, without what the broker adds."""
        return len(self.key or b"") + len(self.value) + size_of(self.headers)


def size_of(headers: Headers) -> int:
    """The size of names and values in bytes."""
    return sum([len(name) + len(value) for name, value in headers])


class Partition(NamedTuple):
    """A topic's partition, by the topic's full name on the broker."""

    topic: str
    number: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.number}"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as the broker delivered it; ``value`` is not decoded yet.

    Attributes:
        headers: the known ones, bounded; their values are not checked yet.
    """

    partition: Partition
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int = 0
    headers: Headers = ()

    @property
    def size(self) -> int:
        """The size of the value in bytes."""
        return len(self.value) if self.value else 0


@dataclass(frozen=True, slots=True)
class Position:
    """The committed position of a group in a partition: the next offset, with metadata."""

    offset: int
    metadata: str = ""


class Listener(Protocol):
    """Receives the events of a source, in the event loop that started it."""

    async def on_assigned(self, partitions: Collection[Partition]) -> None:
        """These partitions were assigned in addition; none is consumed until this returns."""

    async def on_revoked(self, partitions: Collection[Partition]) -> None:
        """These partitions are being revoked; offsets may be committed until this returns."""

    def on_lost(self, error: BaseException) -> None:
        """The source has failed permanently and will deliver nothing more."""

    async def on_records(self, batch: Sequence[Delivery]) -> None:
        """Take messages, ordered by offset in each partition. This must not block polling."""


class Source(Protocol):
    """One member of a consumer group."""

    async def start(self, listener: Listener) -> None:
        """Join the group and begin to poll."""

    async def stop(self) -> None:
        """Stop polling and leave the group without a commit."""

    async def commit(self, positions: Mapping[Partition, Position]) -> None:
        """Commit these positions and return when the coordinator has acknowledged them.

        Raises:
            Stale: this member no longer owns one of the partitions.
            Transient: the coordinator does not answer.
        """

    async def committed(self, partitions: Collection[Partition]) -> Mapping[Partition, Position]:
        """The committed positions of the group; partitions without a commit are left out."""

    async def check_topics(self) -> None:
        """Check that the topics are still those that this member joined with.

        If so, everything that was delivered before the call belongs to them.

        Raises:
            Misconfigured: a topic was deleted and recreated.
            Transient: the broker does not answer.
        """

    async def bounds(
        self, partitions: Collection[Partition]
    ) -> Mapping[Partition, tuple[int, int]]:
        """The first offset and the end offset of each partition's log."""

    async def messages_at(self, offsets: Mapping[Partition, int]) -> Mapping[Partition, Delivery]:
        """The message at one offset of each partition, independently of the group's deliveries.

        Every offset must be within the bounds of its log. Offsets without a message (compacted, or
        a transaction marker) are left out.

        Raises:
            Transient: the broker does not answer, or an offset was deleted in the meantime.
        """

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Deliver nothing from these partitions until resumed; those not owned are ignored."""

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Deliver messages of these partitions again."""

    def seek(self, partition: Partition, offset: int) -> None:
        """Continue the deliveries of this partition at ``offset``."""


class Sender(Protocol):
    """Publishes messages."""

    async def start(self) -> None:
        """Connect."""

    async def stop(self) -> None:
        """Send the buffered messages, then disconnect."""

    async def send(self, topic: str, key: bytes, value: bytes, headers: Headers = ()) -> None:
        """Publish a message and wait until all in-sync replicas have it, without a time limit.

        Raises:
            Poison: the broker will never accept it (too large, or not allowed on this topic).
            Misconfigured: the topic does not exist, or this client may not write to it.
            Transient: the message was not acknowledged; it may still be on the topic.
        """


class BatchSender(Sender, Protocol):
    """Publishes many messages for one partition at once."""

    async def partitioner(self, topic: str) -> Callable[[bytes], int]:
        """A function that gives the partition of a key."""

    async def send_batch(self, topic: str, partition: int, messages: Sequence[Message]) -> None:
        """Publish all messages or none, and wait until all in-sync replicas have them.

        Raises:
            Poison: the broker will never accept one of them, or they do not fit into one batch;
                none of them is on the topic.
            Misconfigured, Transient: as :meth:`send`.
        """
