"""Sets of ids as sorted arrays: 16 bytes each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from promptmill.core.sinks.keys import octets_of

Keys: TypeAlias = npt.NDArray[np.bytes_]
"""Ids of 16 bytes, sorted, each once."""

KEY_BYTES = 16
NONE: Keys = np.empty(0, f"S{KEY_BYTES}")


def contains(keys: Keys, identity: str) -> bool:
    """Whether the id is among the keys; about 5 µs."""
    wanted = np.frombuffer(bytes.fromhex(identity), NONE.dtype)
    place = int(np.searchsorted(keys, wanted)[0])
    return place < len(keys) and bool(keys[place] == wanted[0])


def octet_keys(ids: pa.Array) -> Keys:
    """A column of ids without nulls, in its order."""
    return octets_of(pc.cast(ids, pa.string())).view(NONE.dtype).reshape(-1)


def keys_of(batches: Iterable[pa.RecordBatch]) -> Keys:
    """The ids in the first column of all batches."""
    return union(NONE, *(octet_keys(batch.column(0)) for batch in batches))


def union(*sets: Keys) -> Keys:
    """Everything in any of them, which need not be sorted."""
    filled = [keys for keys in sets if len(keys)] or [NONE]
    merged = np.concatenate(filled)
    merged.sort(kind="stable")  # sorted parts are merged in linear time
    is_new = np.ones(len(merged), np.bool_)
    is_new[1:] = merged[1:] != merged[:-1]
    distinct: Keys = merged[is_new]
    return distinct


def without(keys: Keys, others: Keys) -> Keys:
    """Those of the sorted keys that are not among the sorted others."""
    if len(keys) == 0 or len(others) == 0:
        return keys
    places = np.searchsorted(others, keys)
    left: Keys = keys[others[np.minimum(places, len(others) - 1)] != keys]
    return left
