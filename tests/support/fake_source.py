"""A source whose log, assignment and faults a test holds in its hands."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from promptmill.stream.ports import Delivery, Listener, Partition, Position
from promptmill_schemas import Contract, encode
from support.store import PARTITIONS, table_of

BATCH = 20


def topic_of(contract: Contract) -> str:
    """The topic of a contract of the store."""
    return table_of(contract).value.replace("_", "-")


class Log:
    """Messages by partition, shared by the members of a group; ``None`` is an empty offset."""

    def __init__(self) -> None:
        self.first: dict[Partition, int] = defaultdict(int)
        self.messages: dict[Partition, list[bytes | None]] = defaultdict(list)
        self.committed: dict[Partition, int] = {}

    def put(self, shard: int, *contracts: Contract) -> None:
        """Append each to its topic."""
        for contract in contracts:
            self.put_raw(Partition(topic_of(contract), shard), encode(contract))

    def put_raw(self, partition: Partition, *values: bytes | None) -> None:
        """Append bytes; ``None`` leaves an offset without a message."""
        self.messages[partition].extend(values)

    def end(self, partition: Partition) -> int:
        """The offset after the last."""
        return self.first[partition] + len(self.messages[partition])


class FakeSource:
    """One member; it delivers from its log whatever is assigned and not paused."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.positions: dict[Partition, int] = {}
        self.paused: set[Partition] = set()
        self.commit_error: Exception | None = None
        self.is_running = False
        self._listener: Listener | None = None
        self._poll: asyncio.Task[None] | None = None

    @property
    def listener(self) -> Listener:
        """Who is told."""
        assert self._listener is not None
        return self._listener

    async def start(self, listener: Listener) -> None:
        """Begin to poll; nothing is assigned yet."""
        self._listener = listener
        self.is_running = True
        self._poll = asyncio.create_task(self._deliver())

    async def stop(self) -> None:
        """Stop polling and leave."""
        self.is_running = False
        if self._poll is not None:
            self._poll.cancel()
            await asyncio.gather(self._poll, return_exceptions=True)
        if self.positions:
            await self.revoke(self.positions)

    async def assign(self, partitions: Iterable[Partition]) -> None:
        """As a rebalance does: pauses are forgotten, some other position is the start."""
        self.paused.clear()
        added = list(partitions)
        self.positions |= {p: self.log.committed.get(p, self.log.first[p]) for p in added}
        await self.listener.on_assigned(added)

    async def revoke(self, partitions: Iterable[Partition]) -> None:
        """These leave."""
        leaving = list(partitions)
        await self.listener.on_revoked(leaving)
        for partition in leaving:
            self.positions.pop(partition, None)

    async def _deliver(self) -> None:
        while True:
            await asyncio.sleep(0.001)
            for partition in set(self.positions) - self.paused:
                if batch := self._next(partition):
                    self.positions[partition] = batch[-1].offset + 1
                    await self.listener.on_records(batch)

    def _next(self, partition: Partition) -> list[Delivery]:
        first, messages = self.log.first[partition], self.log.messages[partition]
        start = self.positions[partition] - first
        return [
            Delivery(partition, first + start + index, None, value)
            for index, value in enumerate(messages[start : start + BATCH])
            if value is not None
        ]

    async def commit(self, positions: Mapping[Partition, Position]) -> None:
        """Noted in the log."""
        if self.commit_error is not None:
            raise self.commit_error
        self.log.committed.update({p: position.offset for p, position in positions.items()})

    async def committed(self, partitions: Collection[Partition]) -> Mapping[Partition, Position]:
        """What was noted."""
        known = self.log.committed
        return {p: Position(known[p]) for p in partitions if p in known}

    async def check_topics(self) -> None:
        """A log in memory is never replaced."""

    async def bounds(
        self, partitions: Collection[Partition]
    ) -> Mapping[Partition, tuple[int, int]]:
        """First offset and the one after the last."""
        return {p: (self.log.first[p], self.log.end(p)) for p in partitions}

    async def messages_at(self, offsets: Mapping[Partition, int]) -> Mapping[Partition, Delivery]:
        """The message at this offset of each partition."""
        found = {p: self.log.messages[p][at - self.log.first[p]] for p, at in offsets.items()}
        return {p: Delivery(p, offsets[p], None, v) for p, v in found.items() if v is not None}

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Deliver nothing from these."""
        self.paused |= set(partitions)

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Deliver again."""
        self.paused -= set(partitions)

    def seek(self, partition: Partition, offset: int) -> None:
        """Go on from there."""
        self.positions[partition] = offset


def delete_up_to(log: Log, partition: Partition, first: int) -> None:
    """As retention does: the log begins at ``first``, which may be beyond its end."""
    gone = first - log.first[partition]
    log.messages[partition] = log.messages[partition][gone:]
    log.first[partition] = first


def every_partition(*shards: int) -> list[Partition]:
    """All topics' partitions of these shards; of every shard when none is named."""
    topics = ("prompts", "records", "rejects", "dead-letters")
    return [Partition(topic, shard) for shard in shards or range(PARTITIONS) for topic in topics]
