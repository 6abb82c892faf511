"""Messages between the broker and the next flush: in order, without gaps, bounded."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Iterable

from promptmill.core.stream.ports import Delivery, Partition
from promptmill.store.limits import SinkLimits


class Intake:
    """The queue of an owned set of partitions.

    A partition is *open* from :meth:`expect` to :meth:`close`; what arrives for others is not
    taken, because it comes again after the seek that opens them. A message that is not the
    expected one makes its partition *suspect*: nothing more of it is taken until somebody has
    looked at the log and calls :meth:`expect` again.
    """

    def __init__(self, limits: SinkLimits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._queue: deque[tuple[float, Delivery]] = deque()
        self._next: dict[Partition, int] = {}
        self._gaps: dict[Partition, int] = {}
        self.suspects: dict[Partition, int] = {}
        self.rows = 0
        self.bytes = 0

    # Partitions

    def expect(self, partition: Partition, offset: int, *, gap_to: int | None = None) -> None:
        """Open the partition; the next message taken from it is the one at ``offset``.

        Args:
            gap_to: what stood at that place before. If it is the next message once more, the
                offsets in between hold no messages.
        """
        self._next[partition] = offset
        self.suspects.pop(partition, None)
        if gap_to is not None and gap_to > offset:
            self._gaps[partition] = gap_to

    def expected(self, partition: Partition) -> int:
        """The offset that comes next."""
        return self._next[partition]

    def is_open(self, partition: Partition) -> bool:
        """Whether messages of this partition are taken."""
        return partition in self._next and partition not in self.suspects

    def shut(self, partitions: Collection[Partition]) -> None:
        """Take no more from these; what waits still waits."""
        for partition in partitions:
            self._next.pop(partition, None)
            self._gaps.pop(partition, None)
            self.suspects.pop(partition, None)

    def close(self, partitions: Collection[Partition]) -> None:
        """Take no more from these, and forget what waits."""
        self.shut(partitions)
        kept = [entry for entry in self._queue if entry[1].partition not in partitions]
        self._queue = deque(kept)
        self.rows = len(kept)
        self.bytes = sum(_size(delivery) for _, delivery in kept)

    # Messages

    def take_in(self, batch: Iterable[Delivery]) -> None:
        """Queue what is expected."""
        now = self._clock()
        for delivery in batch:
            if self._is_expected(delivery):
                self._next[delivery.partition] = delivery.offset + 1
                self._queue.append((now, delivery))
                self.rows += 1
                self.bytes += _size(delivery)

    def _is_expected(self, delivery: Delivery) -> bool:
        partition, offset = delivery.partition, delivery.offset
        if not self.is_open(partition):
            return False
        gap_to = self._gaps.pop(partition, None)
        if offset in (self._next[partition], gap_to):
            return True
        self.suspects[partition] = offset
        return False

    def take_out(self) -> list[Delivery]:
        """The oldest messages, as many as one flush may hold, at least one."""
        taken: list[Delivery] = []
        size = 0
        while self._queue and len(taken) < self._limits.flush_rows:
            delivery = self._queue[0][1]
            size += _size(delivery)
            if taken and size > self._limits.flush_bytes:
                break
            taken.append(delivery)
            self._queue.popleft()
        self.rows -= len(taken)
        self.bytes -= sum(map(_size, taken))
        return taken

    def holds(self, partitions: Collection[Partition]) -> bool:
        """Whether a message of one of these waits."""
        return any(delivery.partition in partitions for _, delivery in self._queue)

    def due_in_s(self) -> float:
        """Seconds until the next flush is due; infinity when nothing waits."""
        if not self._queue:
            return math.inf
        if self.rows >= self._limits.flush_rows or self.bytes >= self._limits.flush_bytes:
            return 0.0
        waited = self._clock() - self._queue[0][0]
        return max(0.0, self._limits.flush_delay_s - waited)

    def is_full(self, *, was_full: bool) -> bool:
        """Whether to pause: at the limit, and then until half of it is free again."""
        share = 2 if was_full else 1
        return (
            self.rows * share >= self._limits.buffer_rows
            or self.bytes * share >= self._limits.buffer_bytes
        )


def _size(delivery: Delivery) -> int:
    return len(delivery.value or b"") + len(delivery.key or b"")
