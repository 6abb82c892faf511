"""The buffer between the broker and the next flush: ordered, without gaps, and bounded."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Iterable

from promptmill.store.limits import SinkLimits
from promptmill.stream.intake import OrderedIntake
from promptmill.stream.ports import Delivery, Partition

FLUSH_SHARE = 4
"""A message waits at most for so many times the duration of recent flushes."""

MAX_DELAY_S = 30.0
"""The longest waiting time that a slow storage can cause."""


class Buffer:
    """The queue of the owned partitions.

    A partition is *open* from ``order.expect`` to :meth:`close`. Deliveries for other partitions
    are not taken, because they arrive again after the seek that opens them.
    :class:`~promptmill.stream.intake.OrderedIntake` decides which delivery may be next.
    """

    def __init__(self, limits: SinkLimits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._queue: deque[tuple[float, Delivery]] = deque()
        self.order = OrderedIntake()
        self.rows = 0
        self.bytes = 0
        self._flush_s = 0.0

    def adapt(self, flush_s: float) -> None:
        """Adapt the waiting time to the duration of recent flushes, the last of which took this.

        On a slow storage, flushes become rarer and larger, so that commits take at most a fifth of
        the time and leave fewer files.
        """
        self._flush_s = (self._flush_s + flush_s) / 2

    @property
    def delay_s(self) -> float:
        """The longest time that a message waits for its flush."""
        return max(self._limits.flush_delay_s, min(FLUSH_SHARE * self._flush_s, MAX_DELAY_S))

    # Partitions

    def shut(self, partitions: Collection[Partition]) -> None:
        """Take no more deliveries of these partitions; queued messages stay."""
        self.order.close(partitions)

    def close(self, partitions: Collection[Partition]) -> None:
        """Take no more deliveries of these partitions, and drop their queued messages."""
        self.shut(partitions)
        kept = [entry for entry in self._queue if entry[1].partition not in partitions]
        self._queue = deque(kept)
        self.rows = len(kept)
        self.bytes = sum(_size(delivery) for _, delivery in kept)

    # Messages

    def take_in(self, batch: Iterable[Delivery]) -> None:
        """Queue the deliveries that are expected."""
        now = self._clock()
        for delivery in batch:
            if self.order.admit(delivery):
                self._queue.append((now, delivery))
                self.rows += 1
                self.bytes += _size(delivery)

    def take_out(self) -> list[Delivery]:
        """Remove and return the oldest messages: at least one, at most a full flush."""
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
        """Whether a message of one of these partitions is queued."""
        return any(delivery.partition in partitions for _, delivery in self._queue)

    def due_in_s(self) -> float:
        """The seconds until the next flush is due, or infinity if nothing is queued."""
        if not self._queue:
            return math.inf
        if self.rows >= self._limits.flush_rows or self.bytes >= self._limits.flush_bytes:
            return 0.0
        waited = self._clock() - self._queue[0][0]
        return max(0.0, self.delay_s - waited)

    def is_full(self, *, was_full: bool) -> bool:
        """Whether to pause: from the limit on, until the queue is half empty."""
        share = 2 if was_full else 1
        return (
            self.rows * share >= self._limits.buffer_rows
            or self.bytes * share >= self._limits.buffer_bytes
        )


def _size(delivery: Delivery) -> int:
    return len(delivery.value or b"") + len(delivery.key or b"")
