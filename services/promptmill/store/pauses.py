"""Paused partitions: suspect ones, those not taken over, and all while the buffer is full."""

from __future__ import annotations

from promptmill.store.buffer import Buffer
from promptmill.store.shards import Shards
from promptmill.stream.ports import Partition, Source


class BufferPauses:
    """Pauses and resumes partitions of the source as needed."""

    def __init__(self, source: Source, shards: Shards, buffer: Buffer) -> None:
        self._source = source
        self._shards = shards
        self._buffer = buffer
        self._paused: set[Partition] = set()
        self._is_full = False
        self.held = False

    def hold(self) -> None:
        """Pause all partitions from now on."""
        self.held = True
        self.apply()

    def forget(self) -> None:
        """Forget the pauses, as the source does at every rebalance."""
        self._paused.clear()

    def apply(self) -> None:
        """Pause and resume the partitions whose state must change."""
        self._is_full = self._buffer.is_full(was_full=self._is_full)
        all_held = self.held or self._is_full
        assigned = self._shards.assigned
        needed = {p for p in assigned if all_held or not self._buffer.order.is_open(p)}
        if more := needed - self._paused:
            self._source.pause(more)
        if fewer := (self._paused - needed) & assigned:
            self._source.resume(fewer)
        self._paused = needed
