"""The last messages of a topic, and those that follow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from promptmill.core.stream.kafka.reader import LogReader
from promptmill.core.stream.ports import Delivery, Partition
from promptmill_schemas import Contract, Topic, decode

LOOK_BACK_FACTOR = 8


class Tail:
    """Reads one topic from its end.

    Args:
        name: the topic's full name.
        run: only what belongs to this run; ``None`` is everything.
    """

    def __init__(self, reader: LogReader, topic: Topic, name: str, run: str | None) -> None:
        self._reader = reader
        self._topic = topic
        self._name = name
        self._run = run
        self._next: dict[Partition, int] = {}

    async def last(self, count: int) -> list[Contract]:
        """The last ``count`` messages by the broker's clock, oldest first."""
        bounds = await self._reader.bounds(await self._reader.partitions([self._name]))
        self._next = {partition: end for partition, (_, end) in bounds.items()}
        back = count
        while True:
            starts = {p: max(first, end - back) for p, (first, end) in bounds.items()}
            found = await self._read(starts) if count else []
            exhausted = all(starts[p] == first for p, (first, _) in bounds.items())
            if exhausted or len(found) >= count:
                found.sort(key=lambda pair: (pair[0].timestamp_ms, pair[0].partition))
                return [message for _, message in found[max(0, len(found) - count) :]]
            back *= LOOK_BACK_FACTOR

    async def following(self) -> AsyncIterator[Contract]:
        """What lands after :meth:`last`, for ever."""
        async for batch in self._reader.follow(self._next):
            for _, message in self._wanted(batch):
                yield message

    async def _read(self, starts: dict[Partition, int]) -> list[tuple[Delivery, Contract]]:
        numbers = {partition.number: offset for partition, offset in starts.items()}
        found = []
        async for batch in self._reader.read(self._name, numbers):
            found += self._wanted(d for d in batch if d.offset < self._next[d.partition])
        return found

    def _wanted(self, batch: Iterable[Delivery]) -> list[tuple[Delivery, Contract]]:
        decoded = ((d, self._decoded(d)) for d in batch)
        return [
            (delivery, message)
            for delivery, message in decoded
            if message is not None and self._run in {None, getattr(message, "run", None)}
        ]

    def _decoded(self, delivery: Delivery) -> Contract | None:
        """Bytes that are no message of this topic are the store's business, not ours."""
        try:
            return decode(self._topic.contract, delivery.value)
        except Exception:  # noqa: BLE001 - no message may end a reader
            return None
