"""What the stream core needs from a broker, and what a broker adapter tells the core.

``kafka.py`` and ``memory.py`` implement these ports; nothing else knows which one is at work.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

Message: TypeAlias = tuple[bytes, bytes]
"""Key and value."""


class Partition(NamedTuple):
    """A topic's partition, by the topic's full name on the broker."""

    topic: str
    number: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.number}"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as the broker handed it over; ``value`` is not yet decoded."""

    partition: Partition
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int = 0

    @property
    def size(self) -> int:
        """Bytes of the value."""
        return len(self.value) if self.value else 0


@dataclass(frozen=True, slots=True)
class Position:
    """What a group has committed for a partition: the next offset, and its metadata."""

    offset: int
    metadata: str = ""


class Listener(Protocol):
    """What a source calls; all calls come from the event loop that started it."""

    async def on_assigned(self, partitions: Collection[Partition]) -> None:
        """These partitions are now ours, beside those that were; none is consumed before."""

    async def on_revoked(self, partitions: Collection[Partition]) -> None:
        """These partitions leave; what is done may be committed until this returns."""

    def on_lost(self, error: BaseException) -> None:
        """The source has failed for good and will deliver nothing more."""

    async def on_records(self, batch: Sequence[Delivery]) -> None:
        """Messages in offset order by partition; must return at once (polling waits for it)."""


class Source(Protocol):
    """One member of a consumer group."""

    async def start(self, listener: Listener) -> None:
        """Join the group and begin to poll."""

    async def stop(self) -> None:
        """Stop polling and leave the group. Commits nothing."""

    async def commit(self, positions: Mapping[Partition, Position]) -> None:
        """Commit; returns when the coordinator has acknowledged.

        Raises:
            Stale: this member no longer owns one of the partitions.
            Transient: the coordinator cannot answer now.
        """

    async def committed(self, partitions: Collection[Partition]) -> Mapping[Partition, Position]:
        """What the group has committed; partitions without a commit are left out."""

    async def check_topics(self) -> None:
        """Return if the topics are the ones that this member has joined.

        What was delivered before the call belongs to them then.

        Raises:
            Misconfigured: a topic was deleted and created again under its name.
            Transient: that cannot be found out now.
        """

    async def bounds(
        self, partitions: Collection[Partition]
    ) -> Mapping[Partition, tuple[int, int]]:
        """First offset and the one after the last, by partition."""

    async def messages_at(self, offsets: Mapping[Partition, int]) -> Mapping[Partition, Delivery]:
        """The message at this offset of each partition, read beside the group's own deliveries.

        Every offset must lie within the bounds of its log. An offset without a message
        (compacted away, or a transaction marker) is left out.

        Raises:
            Transient: the broker does not answer, or the log has moved on meanwhile.
        """

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Deliver nothing from these until resumed; partitions not owned are ignored."""

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Deliver again."""

    def seek(self, partition: Partition, offset: int) -> None:
        """The next message delivered from this partition is the one at ``offset``."""


class Sender(Protocol):
    """Publishes messages."""

    async def start(self) -> None:
        """Connect."""

    async def stop(self) -> None:
        """Send what is buffered, then disconnect."""

    async def send(self, topic: str, key: bytes, value: bytes) -> None:
        """Publish; returns when all in-sync replicas have the message, however long that takes.

        Raises:
            Poison: the broker will never take it (too large, not allowed on this topic).
            Misconfigured: the topic does not exist, or may not be written to.
            Transient: not acknowledged; it may be on the topic all the same.
        """


class BatchSender(Sender, Protocol):
    """Publishes many messages for one partition at once."""

    async def partitioner(self, topic: str) -> Callable[[bytes], int]:
        """Where the messages of a key belong."""

    async def send_batch(self, topic: str, partition: int, messages: Sequence[Message]) -> None:
        """Publish all of them or none; returns when all in-sync replicas have them.

        Raises:
            Poison: one of them will never be taken, or they are more than one batch; none of
                them is on the topic.
            Misconfigured, Transient: as :meth:`send`.
        """
