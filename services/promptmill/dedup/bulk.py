"""Bulk loading: decisions as packed ``HSET`` commands, one for each bucket.

Only unambiguous rows are loaded in bulk: one record for a prompt, one prompt for a content, no
replays, and not loaded before. All other rows are merged one by one (``load.lua``). A bulk load may
overwrite claims that other dedup stores have passed to the loader; they add them again afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from promptmill.dedup.layout import DECISION_BYTES, FIELD, TOKEN_BYTES, KeyLayout, policy_digest
from promptmill.dedup.ports import Decisions, Digests

BITS_PER_KEY: Final = 16
MIN_BITS, MAX_BITS = 2**16, 2**29
"""The limits of a filter's size, at most 64 MiB.

Beyond 32 million keys, more of them are loaded slowly: 10 % at 100 million.
"""


class Seen:
    """A Bloom filter for numbers whose bits are evenly distributed, like those of digests.

    Args:
        expected: the number of members for which the filter is sized.
    """

    def __init__(self, expected: int) -> None:
        wanted = 1 << (expected * BITS_PER_KEY - 1).bit_length()
        size = min(max(wanted, MIN_BITS), MAX_BITS)
        self._mask = np.uint64(size - 1)
        self._bits = np.zeros(size // 8, np.uint8)

    def add(self, numbers: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Add all numbers, and return which of them an earlier call may have added."""
        known = np.ones(len(numbers), np.bool_)
        places = [(numbers >> np.uint64(shift)) & self._mask for shift in (0, 32)]
        bits = [np.left_shift(1, (place & np.uint64(7)).astype(np.uint8)) for place in places]
        for place, bit in zip(places, bits, strict=True):
            known &= (self._bits[place >> np.uint64(3)] & bit) != 0
        for place, bit in zip(places, bits, strict=True):
            np.bitwise_or.at(self._bits, place >> np.uint64(3), bit.astype(np.uint8))
        return known


ENTRIES: Final = 16_384
"""The number of entries in one chunk, which keeps the server busy for about 20 ms."""

_DIGITS: Final = np.frombuffer(b"0123456789abcdef", np.uint8)
_BUCKET_DIGITS: Final = 8


@dataclass(frozen=True, slots=True)
class Chunk:
    """Commands that are sent together, and the number of their replies."""

    commands: bytes
    replies: bytes


@dataclass(frozen=True, slots=True)
class Bulk:
    """The way in which a block of decisions is loaded.

    Attributes:
        chunks: commands for the rows that are loaded in bulk.
        single: rows that are merged one by one.
    """

    chunks: list[Chunk]
    single: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class SeenKeys:
    """The keys that have been loaded before."""

    prompts: Seen
    contents: Seen

    @classmethod
    def for_records(cls, expected: int) -> SeenKeys:
        """Create filters for this number of records."""
        return cls(Seen(expected), Seen(expected))


def plan(layout: KeyLayout, block: Decisions, seen: SeenKeys) -> Bulk:
    """Sort and pack a block, and remember its keys."""
    alone = (block.replays == 0) & _is_new(words_of(block.prompts), seen.prompts)
    if block.records is not None:
        alone &= _is_new(words_of(block.records[1]), seen.contents)
    rows = np.flatnonzero(alone)
    chunks = list(_chunks(layout, "d", block.prompts, _values(block), rows))
    if block.records is not None:
        record_ids, contents = block.records
        chunks += _chunks(layout, "c", contents, record_ids, rows)
    return Bulk(chunks, np.flatnonzero(~alone))


def words_of(digests: Digests) -> NDArray[np.uint64]:
    """Return the first eight bytes of each digest as a number."""
    words = np.ascontiguousarray(digests[:, :8]).view(">u8").reshape(-1)
    return words.astype(np.uint64)


def _values(block: Decisions) -> Digests:
    """Return the decisions in the form in which buckets store them."""
    digests = np.frombuffer(b"".join(map(policy_digest, block.policies)), np.uint8).reshape(-1, 4)
    replays = np.zeros((len(block), 1), np.uint8)
    parts = [block.decisions[:, :DECISION_BYTES], digests[block.policy], replays]
    if block.records is not None:
        parts.append(block.records[0][:, :TOKEN_BYTES])
    return np.hstack(parts)


def _chunks(
    layout: KeyLayout, table: str, keys: Digests, values: Digests, rows: NDArray[np.intp]
) -> Iterator[Chunk]:
    """Build the commands as a matrix of bytes for all buckets with the same number of entries."""
    words = words_of(keys[rows])
    order = np.argsort(words)
    rows, buckets = rows[order], words[order] >> np.uint64(64 - layout.bits)
    numbers, starts, counts = np.unique(buckets, return_index=True, return_counts=True)
    entries = _entries(keys[rows][:, FIELD], values[rows])
    for count in np.unique(counts).tolist():
        same = np.flatnonzero(counts == count)
        step = max(1, ENTRIES // count)
        for start in range(0, len(same), step):
            which = same[start : start + step]
            body = entries[starts[which][:, None] + np.arange(count)].reshape(len(which), -1)
            heads = _heads(layout.prefix(table), numbers[which], count)
            yield Chunk(np.hstack((heads, body)).tobytes(), b":%d\r\n" % count * len(which))


def _entries(fields: Digests, values: Digests) -> Digests:
    """Return the field and the value of each row in the Redis protocol."""
    parts: list[Digests] = []
    for column in (fields, values):
        parts += _same(b"$%d\r\n" % column.shape[1], len(column)), column
        parts.append(_same(b"\r\n", len(column)))
    return np.hstack(parts)


def _heads(prefix: bytes, buckets: NDArray[np.uint64], count: int) -> Digests:
    """Return the beginning of each bucket's command, before its entries."""
    length = len(prefix) + _BUCKET_DIGITS
    head = b"*%d\r\n$4\r\nHSET\r\n$%d\r\n%s" % (2 + 2 * count, length, prefix)
    shifts = np.arange(4 * (_BUCKET_DIGITS - 1), -1, -4, dtype=np.uint64)
    digits = _DIGITS[(buckets[:, None] >> shifts) & np.uint64(15)]
    return np.hstack((_same(head, len(buckets)), digits, _same(b"\r\n", len(buckets))))


def _same(text: bytes, times: int) -> Digests:
    return np.broadcast_to(np.frombuffer(text, np.uint8), (times, len(text)))


def _is_new(words: NDArray[np.uint64], seen: Seen) -> NDArray[np.bool_]:
    """Return the rows that appear once and have certainly not been loaded before."""
    _, at, counts = np.unique(words, return_inverse=True, return_counts=True)
    new: NDArray[np.bool_] = (counts == 1)[at] & ~seen.add(words)
    return new
