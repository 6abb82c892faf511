"""What of one partition is delivered, done and committed, during one assignment of it.

Records finish out of order; only the contiguous done prefix is ever committed. This is pure
bookkeeping: no I/O, no clock. Every call costs O(1), amortised, whatever is in flight.
"""

from __future__ import annotations

from collections import deque

from promptmill.core.stream.offset_map import MAX_SPAN, decode_map, encode_map
from promptmill.core.stream.ports import Position


class OffsetTracker:
    """The offsets of one partition in one assignment epoch.

    Invariants, after every call:

    - ``prefix`` is the lowest offset that is not done; it never goes back.
    - every offset below ``prefix`` was done before this epoch, finished in it, or does not
      exist in the log (compacted away, or a transaction marker).
    """

    def __init__(self, partition: str, start: Position) -> None:
        self._partition = partition
        self._done_before = decode_map(partition, start.offset, start.metadata)
        self._pending: deque[int] = deque()
        self._done: set[int] = set()
        self._next = start.offset
        self._committed = start.offset
        self._finished = 0
        self._finished_when_offered = 0
        self._finished_at_commit = 0

    @property
    def prefix(self) -> int:
        """The offset to commit: everything below it is done."""
        return self._pending[0] if self._pending else self._next

    @property
    def done(self) -> int:
        """Offsets that are done: all below the prefix, and as many as lie beyond it."""
        return self.prefix + len(self._done_beyond())

    @property
    def acknowledged(self) -> int:
        """The offset of the last acknowledged commit, at first where this epoch began."""
        return self._committed

    @property
    def next(self) -> int:
        """The offset after the last one delivered."""
        return self._next

    @property
    def span(self) -> int:
        """How far the deliveries reach beyond the prefix."""
        return self._next - self.prefix

    @property
    def full(self) -> bool:
        """Whether one more delivery could leave the window that a map can cover."""
        return self.span >= MAX_SPAN

    def deliver(self, offset: int) -> bool:
        """Take note of a delivery; ``True`` when it must be worked on.

        Offsets come in ascending order. One below what was delivered already is a
        repetition; one that the map of the last assignment marks is done. Offsets that are
        skipped do not exist: the broker delivers every record of a partition in order.
        """
        if offset < self._next:
            return False
        self._next = offset + 1
        if offset in self._done_before:
            if self._pending:
                self._pending.append(offset)
                self._done.add(offset)
            return False
        self._pending.append(offset)
        return True

    def pass_over(self, offset: int) -> None:
        """Before the first delivery: what is below ``offset`` is lost, and that was accepted."""
        self._next = max(self._next, offset)

    def finish(self, offset: int) -> None:
        """The outcome of this delivery is acknowledged.

        Raises:
            ValueError: the offset was not delivered in this epoch, or is finished already.
        """
        if offset < self.prefix or offset >= self._next or offset in self._done:
            raise ValueError(f"offset {offset} of {self._partition} is not in flight")
        self._done.add(offset)
        self._finished += 1
        while self._pending and self._pending[0] in self._done:
            self._done.remove(self._pending.popleft())

    def to_commit(self) -> Position | None:
        """The position to commit now; ``None`` when the last commit still says it all."""
        if self.prefix == self._committed and self._finished == self._finished_at_commit:
            return None
        self._finished_when_offered = self._finished
        prefix = self.prefix
        return Position(prefix, encode_map(self._partition, prefix, self._done_beyond()))

    def committed(self, position: Position) -> None:
        """The coordinator has acknowledged what :meth:`to_commit` offered last.

        Raises:
            ValueError: it is below the last one of this epoch, or above the done prefix.
        """
        if not self._committed <= position.offset <= self.prefix:
            raise ValueError(
                f"commit of {self._partition} at {position.offset} is outside "
                f"{self._committed} to {self.prefix}"
            )
        self._committed = position.offset
        self._finished_at_commit = self._finished_when_offered

    def _done_beyond(self) -> frozenset[int] | set[int]:
        self._done_before = frozenset(o for o in self._done_before if o >= self._next)
        return self._done | self._done_before if self._done_before else self._done
