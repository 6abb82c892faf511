"""Tracks which offsets of a partition are delivered, finished and committed.

Records finish out of order. The committed offset is the end of the durable prefix. The offsets
that are finished beyond it are stored as an offset map in the metadata of the commit, so that
their records are not processed again.
"""

from __future__ import annotations

import zlib
from base64 import b85decode, b85encode
from binascii import crc32
from collections import deque
from collections.abc import Iterable

from promptmill.stream.ports import Position

MAX_CHARACTERS = 3_500
"""The broker accepts 4,096 characters; the rest is kept in reserve."""

MAX_SPAN = 16_384
"""Offsets that one map can cover: 2,048 bytes, 2,600 characters even when incompressible."""

_VERSION = "pm1"
_NO_OFFSETS: frozenset[int] = frozenset()


def encode_map(partition: str, base: int, done: Iterable[int]) -> str:
    """The metadata for a commit of ``base``; ``""`` if no offset beyond it is finished.

    Args:
        partition: ``topic-number``.
        base: the offset that is committed with it.
        done: finished offsets, all above ``base``. Those beyond ``MAX_SPAN`` are left out, which
            is safe: their records are processed again after a restart.
    """
    bitmap = _to_bitmap(base, done)
    if not bitmap:
        return ""
    payload = b85encode(zlib.compress(bitmap, 6)).decode()
    text = f"{_VERSION}.{_checksum(partition, base, payload)}.{payload}"
    return text if len(text) <= MAX_CHARACTERS else ""


def decode_map(partition: str, base: int, metadata: str | None) -> frozenset[int]:
    """The finished offsets beyond ``base``; none if the map is invalid or of another commit."""
    version, _, rest = (metadata or "").partition(".")
    checksum, _, payload = rest.partition(".")
    if version != _VERSION or checksum != _checksum(partition, base, payload):
        return _NO_OFFSETS
    try:
        bitmap = zlib.decompress(b85decode(payload))
    except (ValueError, zlib.error):
        return _NO_OFFSETS
    return frozenset(_from_bitmap(base, bitmap))


def _to_bitmap(base: int, done: Iterable[int]) -> bytes:
    bitmap = bytearray(MAX_SPAN // 8)
    for offset in done:
        index = offset - base
        if 0 <= index < MAX_SPAN:
            bitmap[index >> 3] |= 1 << (index & 7)
    return bytes(bitmap.rstrip(b"\0"))


def _from_bitmap(base: int, bitmap: bytes) -> Iterable[int]:
    for index, byte in enumerate(bitmap[: MAX_SPAN // 8]):
        for bit in range(8):
            if byte >> bit & 1:
                yield base + index * 8 + bit


def _checksum(partition: str, base: int, payload: str) -> str:
    covered = f"{partition} {base} {payload}"
    return f"{crc32(covered.encode()):08x}"


class OffsetTracker:
    """The offsets of one partition in one assignment epoch.

    Invariants, after every call:

    - ``prefix`` is the lowest offset that is not finished; it never decreases.
    - every offset below ``prefix`` was finished before or in this epoch, or holds no record
      (compacted, or a transaction marker).
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
        """The offset to commit: all offsets below it are finished."""
        return self._pending[0] if self._pending else self._next

    @property
    def done(self) -> int:
        """The number of finished offsets: all below the prefix, and those beyond it."""
        return self.prefix + len(self._done_beyond())

    @property
    def acknowledged(self) -> int:
        """The offset of the last acknowledged commit, or the first offset of this epoch."""
        return self._committed

    @property
    def next(self) -> int:
        """The offset after the last one delivered."""
        return self._next

    @property
    def span(self) -> int:
        """The distance from the prefix to the next offset."""
        return self._next - self.prefix

    @property
    def full(self) -> bool:
        """Whether one more delivery could exceed the span of an offset map."""
        return self.span >= MAX_SPAN

    def deliver(self, offset: int) -> bool:
        """Note a delivery; return ``True`` if its record must be processed.

        Offsets arrive in ascending order. A lower offset is a repetition, and an offset in the map
        of the previous assignment is finished. Skipped offsets hold no records, because the broker
        delivers all records of a partition in order.
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
        """Skip an accepted gap, which ends at ``offset``, before the first delivery."""
        self._next = max(self._next, offset)

    def finish(self, offset: int) -> None:
        """Mark an offset as finished, because its outcome is acknowledged.

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
        """The position to commit; ``None`` if nothing has changed since the last commit."""
        if self.prefix == self._committed and self._finished == self._finished_at_commit:
            return None
        self._finished_when_offered = self._finished
        prefix = self.prefix
        return Position(prefix, encode_map(self._partition, prefix, self._done_beyond()))

    def committed(self, position: Position) -> None:
        """Note that the coordinator has acknowledged the last position of :meth:`to_commit`.

        Raises:
            ValueError: the position is below the last one of this epoch or above the prefix.
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
