"""Ids of 16 bytes, and sorted sets of ids; this module needs only numpy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Keys: TypeAlias = npt.NDArray[np.bytes_]
"""Ids of 16 bytes, sorted and distinct."""

KEY_BYTES = 16
NONE: Keys = np.empty(0, f"S{KEY_BYTES}")


def keys_of_texts(ids: Iterable[str]) -> Keys:
    """Convert ids to keys in the same order, unsorted and with repetitions.

    Raises:
        ValueError: an id is not 32 hexadecimal digits.
    """
    texts = list(ids)
    octets = bytes.fromhex("".join(texts))
    if any(len(text) != 2 * KEY_BYTES for text in texts):
        raise ValueError("an id is not 32 hexadecimal digits")
    return np.frombuffer(octets, NONE.dtype)


def texts_of_keys(keys: Keys) -> list[str]:
    """Convert keys to ids of 32 hexadecimal digits."""
    digits = keys.tobytes().hex()
    return [digits[at : at + 2 * KEY_BYTES] for at in range(0, len(digits), 2 * KEY_BYTES)]


def contains(keys: Keys, identity: str) -> bool:
    """Return whether the id is among the keys; this takes about 5 µs."""
    wanted = np.frombuffer(bytes.fromhex(identity), NONE.dtype)
    return bool(are_among(wanted, keys)[0])


def are_among(wanted: Keys, keys: Keys) -> npt.NDArray[np.bool_]:
    """Return for each wanted id, in any order, whether it is among the sorted keys."""
    if len(keys) == 0:
        return np.zeros(len(wanted), np.bool_)
    places = np.searchsorted(keys, wanted)
    found: npt.NDArray[np.bool_] = keys[np.minimum(places, len(keys) - 1)] == wanted
    return found


def union(*sets: Keys) -> Keys:
    """Return the sorted union of several sets, which need not be sorted."""
    filled = [keys for keys in sets if len(keys)] or [NONE]
    merged = np.concatenate(filled)
    merged.sort(kind="stable")  # sorted parts are merged in linear time
    is_new = np.ones(len(merged), np.bool_)
    is_new[1:] = merged[1:] != merged[:-1]
    distinct: Keys = merged[is_new]
    return distinct


def without(keys: Keys, others: Keys) -> Keys:
    """Return the sorted keys that are not among the sorted others."""
    left: Keys = keys[~are_among(keys, others)]
    return left
