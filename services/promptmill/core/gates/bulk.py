"""Decisions for ``bulk.lua``: sorted by bucket and packed as columns, without a loop over rows.

Only what is alone goes this way: one record for a prompt, one prompt for a content, no replays.
All other rows, and those for which another value stands, are merged one by one (``load.lua``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from promptmill.core.gates.decisions import Decisions, Digests
from promptmill.core.gates.layout import DECISION_BYTES, FIELD, TOKEN_BYTES, Layout, policy_digest

ENTRIES: Final = 2_048
"""Entries in one call: the server is busy with them for a few milliseconds."""


@dataclass(frozen=True, slots=True)
class Call:
    """Entries of one table for one call.

    Attributes:
        length: bytes of an entry.
        rows: of the decisions, for each entry.
    """

    table: bytes
    length: int
    data: bytes
    rows: NDArray[np.intp]

    def rows_at(self, numbers: bytes) -> NDArray[np.intp]:
        """The rows of entries that the script names by their numbers."""
        return self.rows[np.frombuffer(numbers, ">u4").astype(np.intp)]


@dataclass(frozen=True, slots=True)
class Bulk:
    """How a block of decisions is loaded.

    Attributes:
        calls: for ``bulk.lua``.
        single: rows that are to be merged one by one.
    """

    calls: list[Call]
    single: NDArray[np.intp]


def plan(layout: Layout, block: Decisions) -> Bulk:
    """Sort and pack a block."""
    alone = (block.replays == 0) & _is_unique(block.prompts)
    if block.records is not None:
        alone &= _is_unique(block.records[1])
    rows = np.flatnonzero(alone)
    calls = list(_calls(layout, layout.decision_table, block.prompts, _values(block), rows))
    if block.records is not None:
        record_ids, contents = block.records
        calls += _calls(layout, layout.content_table, contents, record_ids, rows)
    return Bulk(calls, np.flatnonzero(~alone))


def _values(block: Decisions) -> Digests:
    """Decisions as they lie in their buckets."""
    digests = np.frombuffer(b"".join(map(policy_digest, block.policies)), np.uint8).reshape(-1, 4)
    replays = np.zeros((len(block), 1), np.uint8)
    parts = [block.decisions[:, :DECISION_BYTES], digests[block.policy], replays]
    if block.records is not None:
        parts.append(block.records[0][:, :TOKEN_BYTES])
    return np.hstack(parts)


def _calls(
    layout: Layout, table: bytes, keys: Digests, values: Digests, rows: NDArray[np.intp]
) -> Iterator[Call]:
    words = _words(keys[rows])
    rows = rows[np.argsort(words)]
    buckets = (_words(keys[rows]) >> np.uint64(64 - layout.bits)).astype(">u4")
    packed = np.hstack((buckets.view(np.uint8).reshape(-1, 4), keys[rows][:, FIELD], values[rows]))
    for start in range(0, len(rows), ENTRIES):
        span = slice(start, start + ENTRIES)
        yield Call(table, packed.shape[1], packed[span].tobytes(), rows[span])


def _is_unique(digests: Digests) -> NDArray[np.bool_]:
    """Which rows share their first eight bytes with no other."""
    _, at, counts = np.unique(_words(digests), return_inverse=True, return_counts=True)
    unique: NDArray[np.bool_] = (counts == 1)[at]
    return unique


def _words(digests: Digests) -> NDArray[np.uint64]:
    """The first eight bytes of each digest as a number."""
    words = np.ascontiguousarray(digests[:, :8]).view(">u8").reshape(-1)
    return words.astype(np.uint64)
