"""An in-memory broker with logs, groups, rebalances and faults, behind the same ports.

It passes the contract suite that Apache Kafka passes (``tests/stream/contract``); tests of the
loop use it if they need to control every step. Its content ends with the process.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from promptmill.runtime.errors import Poison, Stale
from promptmill.stream.layout import DataSetLayout
from promptmill.stream.ports import Delivery, Listener, Partition, Position
from promptmill_schemas.headers import Headers, kept

BATCH = 100


@dataclass(slots=True)
class _Log:
    first: int = 0
    records: list[tuple[bytes | None, bytes | None, Headers]] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.first + len(self.records)


class MemoryBroker:
    """Topics with a fixed number of partitions, and consumer groups over them."""

    def __init__(self, partitions: int = 4, max_message_bytes: int = 8 * 1024 * 1024) -> None:
        self.partitions = partitions
        self.max_message_bytes = max_message_bytes
        self.logs: dict[Partition, _Log] = defaultdict(_Log)
        self.offsets: dict[str, dict[Partition, Position]] = defaultdict(dict)
        self.groups: dict[str, list[MemorySource]] = defaultdict(list)
        self._rebalancing: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def append(
        self,
        topic: str,
        key: bytes,
        value: bytes,
        layout: DataSetLayout | None = None,
        headers: Headers = (),
    ) -> Delivery:
        """Add a message to the partition of its key, and return it as it will be delivered."""
        partition = Partition(topic, (layout or DataSetLayout(self.partitions)).partition_of(key))
        log = self.logs[partition]
        log.records.append((key, value, headers))
        for group in self.groups.values():
            for member in group:
                member.wake()
        return Delivery(partition, log.end - 1, key, value, headers=kept(headers))

    def topic(self, name: str) -> list[Delivery]:
        """Return all messages of the topic, partition by partition."""
        return [
            Delivery(partition, log.first + index, key, value, headers=kept(headers))
            for partition, log in sorted(self.logs.items())
            if partition.topic == name
            for index, (key, value, headers) in enumerate(log.records)
        ]

    async def join(self, member: MemorySource) -> None:
        """Add a member to its group, and rebalance all members."""
        async with self._rebalancing[member.group]:
            self.groups[member.group].append(member)
            await self._rebalance(member.group)

    async def leave(self, member: MemorySource) -> None:
        """Remove a member from its group, and divide its partitions among the others."""
        async with self._rebalancing[member.group]:
            if member in self.groups[member.group]:
                self.groups[member.group].remove(member)
                member.owned = {}
                await self._rebalance(member.group)

    async def rebalance(self, group: str) -> None:
        """Rebalance a group without a change of its members."""
        async with self._rebalancing[group]:
            await self._rebalance(group)

    async def _rebalance(self, group: str) -> None:
        members = self.groups[group]
        for member in members:
            await member.revoke()
        for index, member in enumerate(members):
            share = [
                Partition(topic, number)
                for topic in member.topics
                for number in range(self.partitions)
                if number % len(members) == index
            ]
            await member.assign(share)


class MemorySource:
    """One member of a group of a :class:`MemoryBroker`."""

    def __init__(self, broker: MemoryBroker, group: str, topics: Collection[str]) -> None:
        self.broker = broker
        self.group = group
        self.topics = list(topics)
        self.owned: dict[Partition, int] = {}
        self.paused: set[Partition] = set()
        self._listener: Listener | None = None
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Tell the member that a poll may return messages."""
        self._wake.set()

    async def start(self, listener: Listener) -> None:
        """Join the group and start polling."""
        self._listener = listener
        self._task = asyncio.create_task(self._poll(listener))
        await self.broker.join(self)

    async def stop(self) -> None:
        """Stop polling and leave the group without a commit."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._listener = None
        await self.broker.leave(self)

    async def revoke(self) -> None:
        """Give up all partitions; the broker calls this."""
        if self._listener is not None:
            await self._listener.on_revoked(list(self.owned))
        self.owned, self.paused = {}, set()

    async def assign(self, partitions: Collection[Partition]) -> None:
        """Take over these partitions while polling continues; the broker calls this."""
        committed = self.broker.offsets[self.group]
        for partition in partitions:
            log = self.broker.logs[partition]
            self.owned[partition] = committed.get(partition, Position(log.first)).offset
        self.wake()
        await asyncio.sleep(0)
        if self._listener is not None:
            await self._listener.on_assigned(partitions)
        self.wake()

    async def _poll(self, listener: Listener) -> None:
        while True:
            if batch := self._take():
                await listener.on_records(batch)
                await asyncio.sleep(0)
            else:
                self._wake.clear()
                await self._wake.wait()

    def _take(self) -> list[Delivery]:
        for partition, position in self.owned.items():
            log = self.broker.logs[partition]
            index = max(position, log.first) - log.first
            chosen = log.records[index : index + BATCH]
            if partition in self.paused or not chosen:
                continue
            start = log.first + index
            self.owned[partition] = start + len(chosen)
            return [
                Delivery(partition, start + i, key, value, headers=kept(headers))
                for i, (key, value, headers) in enumerate(chosen)
                if key is not None or value is not None
            ]
        return []

    async def commit(self, positions: Mapping[Partition, Position]) -> None:
        """Commit the positions of the partitions that this member owns."""
        if strangers := [str(p) for p in positions if p not in self.owned]:
            raise Stale(f"not assigned: {', '.join(strangers)}")
        self.broker.offsets[self.group].update(positions)

    async def committed(self, partitions: Collection[Partition]) -> Mapping[Partition, Position]:
        """Return the positions that the group has committed."""
        known = self.broker.offsets[self.group]
        return {p: known[p] for p in partitions if p in known}

    async def check_topics(self) -> None:
        """Do nothing, because an in-memory log is never replaced."""

    async def bounds(
        self, partitions: Collection[Partition]
    ) -> Mapping[Partition, tuple[int, int]]:
        """Return the first offset and the offset after the last message."""
        logs = self.broker.logs
        return {p: (logs[p].first, logs[p].end) for p in partitions}

    async def messages_at(self, offsets: Mapping[Partition, int]) -> Mapping[Partition, Delivery]:
        """Return the message at this offset of each partition."""
        found = {}
        for partition, offset in offsets.items():
            log = self.broker.logs[partition]
            key, value, headers = log.records[offset - log.first]
            if key is not None or value is not None:
                found[partition] = Delivery(partition, offset, key, value, headers=kept(headers))
        return found

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Deliver nothing from these partitions until they are resumed."""
        self.paused.update(p for p in partitions if p in self.owned)

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Deliver messages of these partitions again."""
        self.paused.difference_update(partitions)
        self.wake()

    def seek(self, partition: Partition, offset: int) -> None:
        """Let the next delivery of this partition be the message at ``offset``."""
        if partition in self.owned:
            self.owned[partition] = offset
            self.wake()


class MemorySender:
    """Publishes to a :class:`MemoryBroker`."""

    def __init__(self, broker: MemoryBroker, layout: DataSetLayout | None = None) -> None:
        self.broker = broker
        self._layout = layout

    async def start(self) -> None:
        """Do nothing, because there is no connection."""

    async def stop(self) -> None:
        """Do nothing, because no message is buffered."""

    async def send(self, topic: str, key: bytes, value: bytes, headers: Headers = ()) -> None:
        """Add the message to the broker's log."""
        if len(value) > self.broker.max_message_bytes:
            raise Poison(
                f"a message of {len(value)} bytes for topic {topic} is larger than the broker "
                f"accepts ({self.broker.max_message_bytes} bytes): shorten it"
            )
        self.broker.append(topic, key, value, self._layout, headers)
        await asyncio.sleep(0)
