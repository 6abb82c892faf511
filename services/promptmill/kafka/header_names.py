"""Reads records whose header names are not UTF-8.

Kafka's protocol has names in UTF-8, but brokers do not check them, and producers of other languages
can send any bytes. aiokafka's reader then raises ``UnicodeDecodeError`` at each poll, so that one
such record would stop every worker that reads its partition. Its batch is read again here with
the invalid bytes replaced. ``tests/kafka/unit/test_header_names.py`` fails if an upgrade changes
the parts of aiokafka that this module uses.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import structlog
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

log = structlog.get_logger(__name__)

_LENGTH_AT: Final = 8
_MAGIC_AT: Final = 16
_BEFORE_LENGTH_ENDS: Final = 12
_FIRST_WITH_HEADERS: Final = 2


class _Name(bytes):
    """A part of a batch that, decoded as a name, has its invalid bytes replaced."""

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:  # noqa: ARG002 - the reader asks for strict
        return super().decode(encoding, "replace")


class _Buffer(bytearray):
    """The bytes of a batch, whose slices decode names leniently."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _Name(found) if isinstance(at, slice) else found


class LenientBatch(_DefaultRecordBatchPy):  # type: ignore[misc]  # final for type checkers only
    """A batch of records, read with the invalid bytes of header names replaced."""

    _buffer: bytearray

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer = _Buffer(self._buffer)


class TolerantBatch:
    """A batch of the fast reader, read leniently from the first record that the reader refuses."""

    def __init__(self, batch: Any, raw: memoryview) -> None:
        self._batch = batch
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        read = 0
        try:
            for record in self._batch:
                yield record
                read += 1
        except UnicodeDecodeError as error:
            log.warning("header_name_not_utf8", error=str(error))
            yield from islice(LenientBatch(self._raw), read, None)


class TolerantRecords:
    """aiokafka's batches of one fetched partition. It takes the same argument."""

    def __init__(self, raw: bytes) -> None:
        self._raw = memoryview(raw)
        self._records = MemoryRecords(raw)
        self._at = 0

    def size_in_bytes(self) -> int:
        """Return the size of the fetched bytes."""
        return int(self._records.size_in_bytes())

    def has_next(self) -> bool:
        """Return whether there is another complete batch."""
        return bool(self._records.has_next())

    def next_batch(self) -> Any:
        """Return the next batch, or ``None`` after the last one."""
        batch = self._records.next_batch()
        if batch is None:
            return None
        start = self._at
        (length,) = struct.unpack_from(">i", self._raw, start + _LENGTH_AT)
        self._at = start + _BEFORE_LENGTH_ENDS + length
        if self._raw[start + _MAGIC_AT] < _FIRST_WITH_HEADERS:
            return batch
        return TolerantBatch(batch, self._raw[start : self._at])


def tolerate_header_names() -> None:
    """Let all consumers of this process read records with invalid header names."""
    fetcher.MemoryRecords = TolerantRecords
