"""Reading the ends of logs and positions of groups from Kafka over a persistent connection."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Protocol, TypeAlias, TypeVar

from promptmill.flow.measure import READERS, Positions
from promptmill.stream.ports import Partition

T = TypeVar("T")


class Log(Protocol):
    """The part of a reader of topics that is used here."""

    async def partitions(self, topics: Collection[str]) -> list[Partition]:
        """Return all partitions of these topics, given by full name."""

    async def bounds(self, partitions: Collection[Partition]) -> dict[Partition, tuple[int, int]]:
        """Return the first offset and the one after the last, by partition."""

    async def committed(
        self, group: str, partitions: Collection[Partition]
    ) -> dict[Partition, int]:
        """Return the next offset of the group, for partitions with a commit."""


Connect: TypeAlias = Callable[[], AbstractAsyncContextManager[Log]]


class LogPositions:
    """A :class:`~promptmill.flow.measure.PositionReader` of a cluster.

    Args:
        connect: opens a reader of topics; called again after each failure.
        prefix: the prefix of every topic and group name.
    """

    def __init__(self, connect: Connect, prefix: str) -> None:
        self._connect = connect
        self._prefix = prefix
        self._stack = AsyncExitStack()
        self._log: Log | None = None

    async def read(self, topics: Collection[str]) -> Positions:
        """See :class:`~promptmill.flow.measure.PositionReader`."""
        try:
            if self._log is None:
                self._log = await self._stack.enter_async_context(self._connect())
            return await self._read(self._log, topics)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Disconnect, until the next read."""
        stack, self._stack, self._log = self._stack, AsyncExitStack(), None
        await stack.aclose()

    async def _read(self, log: Log, topics: Collection[str]) -> Positions:
        # Commits are read first, so that they are certainly not beyond the ends that are read next.
        places = await log.partitions([self._prefix + topic for topic in topics])
        committed = {
            stage: self._short(await log.committed(self._group(stage), wanted))
            for stage in sorted({stage for topic in topics for stage in READERS.get(topic, ())})
            if (wanted := [p for p in places if stage in READERS.get(self._name(p.topic), ())])
        }
        return Positions(self._short(await log.bounds(places)), committed)

    def _group(self, stage: str) -> str:
        return f"{self._prefix}promptmill.{stage}"

    def _name(self, topic: str) -> str:
        return topic.removeprefix(self._prefix)

    def _short(self, found: Mapping[Partition, T]) -> dict[Partition, T]:
        return {Partition(self._name(p.topic), p.number): value for p, value in found.items()}
