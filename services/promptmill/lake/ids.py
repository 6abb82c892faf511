"""Ids as numbers, and sets of them as sorted arrays of 16 bytes each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Words: TypeAlias = npt.NDArray[np.uint64]

Keys: TypeAlias = npt.NDArray[np.bytes_]
"""Ids of 16 bytes, sorted and distinct."""

KEY_BYTES = 16
NONE: Keys = np.empty(0, f"S{KEY_BYTES}")

ID_CHARACTERS = 32
WORD_BITS = 64
WORD_MASK = (1 << WORD_BITS) - 1

# A hexadecimal digit's value is its low nibble, and 9 more where bit 6 says that it is a letter.
LOW_NIBBLE, LETTER_OFFSET, LETTER_BIT, NIBBLE_BITS = (np.uint8(n) for n in (0x0F, 9, 6, 4))


def key_of(identity: str) -> int:
    """Return an id as a number of 128 bits."""
    return int(identity, 16)


def high_word(identity: str) -> int:
    """Return the first 64 bits of an id."""
    return int(identity[: ID_CHARACTERS // 2], 16)


def words_of(ids: pa.Array) -> tuple[Words, Words]:
    """Return the high and low words of a string column of ids without nulls."""
    words = octets_of(ids).view(">u8").astype(np.uint64)
    return words[:, 0], words[:, 1]


def octets_of(ids: pa.Array) -> npt.NDArray[np.uint8]:
    """Return 16 bytes for each id of a string column without nulls."""
    if len(ids) == 0:
        return np.empty((0, ID_CHARACTERS // 2), np.uint8)
    digits = _characters(ids)
    nibbles = (digits & LOW_NIBBLE) + LETTER_OFFSET * (digits >> LETTER_BIT)
    return (nibbles[:, 0::2] << NIBBLE_BITS) | nibbles[:, 1::2]


def _characters(ids: pa.Array) -> npt.NDArray[np.uint8]:
    """Return 32 characters for each id."""
    offsets: Any
    _validity, offsets, data = ids.buffers()
    starts = np.frombuffer(offsets, np.int32)[ids.offset : ids.offset + len(ids) + 1]
    if not (np.diff(starts) == ID_CHARACTERS).all():
        raise ValueError("an id column holds a value that is not 32 hexadecimal digits")
    characters = np.frombuffer(data, np.uint8)[starts[0] : starts[-1]]
    return characters.reshape(-1, ID_CHARACTERS)


def contains(keys: Keys, identity: str) -> bool:
    """Whether the id is among the keys; this takes about 5 µs."""
    wanted = np.frombuffer(bytes.fromhex(identity), NONE.dtype)
    place = int(np.searchsorted(keys, wanted)[0])
    return place < len(keys) and bool(keys[place] == wanted[0])


def octet_keys(ids: pa.Array) -> Keys:
    """The ids of a column without nulls, in the order of the column."""
    return octets_of(pc.cast(ids, pa.string())).view(NONE.dtype).reshape(-1)


def keys_of(batches: Iterable[pa.RecordBatch]) -> Keys:
    """The sorted, distinct ids in the first column of all batches."""
    return union(NONE, *(octet_keys(batch.column(0)) for batch in batches))


def union(*sets: Keys) -> Keys:
    """The sorted union of several sets, which need not be sorted."""
    filled = [keys for keys in sets if len(keys)] or [NONE]
    merged = np.concatenate(filled)
    merged.sort(kind="stable")  # sorted parts are merged in linear time
    is_new = np.ones(len(merged), np.bool_)
    is_new[1:] = merged[1:] != merged[:-1]
    distinct: Keys = merged[is_new]
    return distinct


def without(keys: Keys, others: Keys) -> Keys:
    """The sorted keys that are not among the sorted others."""
    if len(keys) == 0 or len(others) == 0:
        return keys
    places = np.searchsorted(others, keys)
    left: Keys = keys[others[np.minimum(places, len(others) - 1)] != keys]
    return left
