"""Near-duplicates: sketches of texts, and the similarity of two sketches.

A sketch is a one-permutation MinHash over all runs of eight bytes, with two parts: the question
and the answer. Contents are compared only if their sketches share a band.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_digest

Words: TypeAlias = NDArray[np.uint64]

SketchForm: TypeAlias = Literal["folded", "exact"]
"""Whether the texts of sketches are without differences in case, white space and compatibility
forms. Sketches of two forms are never nearly equal."""

PARTS: Final = 2
BITS: Final = 224
"""The bits of each part's signature; equal parts agree in all of them, unrelated ones in half."""

SIGNATURE_BYTES: Final = PARTS * BITS // 8
BANDS: Final = 16
BAND_BYTES: Final = 8

LEAST_SIMILARITY: Final = 0.5
"""The least supported similarity; below it, most pairs share no band and are not found."""

SHINGLE_BYTES: Final = 8
ROWS: Final = 3
"""The values of each part in a band; at a similarity of 0.8 in both, 99 % share a band."""

SHORTEST_BYTES: Final = 64
"""Shorter answers are only compared exactly, because many prompts have the same short answer."""

_LOW: Final = np.uint64(0xFFFF_FFFF)
_HALF: Final = np.uint64(32)
_TOP: Final = np.uint64(63)
_GOLDEN: Final = np.uint64(0x9E37_79B9_7F4A_7C15)


@dataclass(frozen=True, slots=True)
class Sketch:
    """The sketch of one content, or ``EXEMPT`` for content that is only compared exactly.

    Attributes:
        bands: ``BANDS`` digests of ``BAND_BYTES`` bytes each; only contents that share one of
            them are compared.
        signature: one bit for each of the ``BITS`` minima of each part.
    """

    bands: bytes
    signature: bytes


EXEMPT: Final = Sketch(b"", b"")
"""The sketch of content without near-duplicates; it counts as content with a sketch."""


def agreement(one: bytes, other: bytes) -> int:
    """Return the number of equal bits of two signatures, in the part where they differ most."""
    size = BITS // 8
    parts = ((one[at : at + size], other[at : at + size]) for at in (0, size))
    return min(BITS - (_number(a) ^ _number(b)).bit_count() for a, b in parts)


def similarity(agreed: int) -> float:
    """Return the estimated Jaccard similarity; its standard error is 0.04 at 0.8, less above."""
    return max(0.0, 2 * agreed / BITS - 1)


def least_agreement(similarity: float) -> int:
    """Return the least number of bits at which the estimate reaches ``similarity``."""
    return math.ceil((1 + similarity) / 2 * BITS)


def _number(part: bytes) -> int:
    return int.from_bytes(part, "big")


def sketch(question: str, answer: str) -> Sketch:
    """Return the sketch of a content from its texts; a short answer gives ``EXEMPT``."""
    if len(answer.encode()) < SHORTEST_BYTES:
        return EXEMPT
    asked, answered = _minima(question), _minima(answer)
    return Sketch(_bands(asked, answered), _bits(asked) + _bits(answered))


def _mixed(words: Words) -> Words:
    """Hash each word with the finaliser of SplitMix64."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return words ^ (words >> np.uint64(31))


_BINS: Final[Words] = np.arange(BITS, dtype=np.uint64)
_DONORS: Final = np.argsort(_mixed(_BINS[:, None] * np.uint64(BITS) + _BINS + _GOLDEN), axis=1)
"""For each bin, the order of the bins from which it takes a value if it is empty."""


def _minima(text: str) -> Words:
    """Return the least value of each bin."""
    hashes = _mixed(_shingles(text) + _GOLDEN)
    bins = ((hashes >> _HALF) * np.uint64(BITS)) >> _HALF
    keys = np.sort((bins << _HALF) | (hashes & _LOW))
    first = np.minimum(np.searchsorted(keys, _BINS << _HALF), len(keys) - 1)
    filled = (keys[first] >> _HALF) == _BINS
    minima: Words = keys[first] & _LOW
    return minima[_nearest_filled(filled)]


def _nearest_filled(filled: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return for each bin its own number if it is filled, else that of its first filled donor."""
    source = np.arange(BITS)
    for asked in _DONORS.T:
        empty = np.flatnonzero(~filled[source])
        if not len(empty):
            break
        source[empty] = asked[empty]
    return source


def _shingles(text: str) -> Words:
    raw = text.encode().ljust(SHINGLE_BYTES, b"\0")
    count = len(raw) - SHINGLE_BYTES + 1
    return np.ndarray((count,), "<u8", buffer=raw, strides=(1,)).astype(np.uint64)


def _bits(minima: Words) -> bytes:
    """Return one bit of each value; a value taken from another bin gives a different bit here."""
    return np.packbits(_mixed(minima + _BINS * _GOLDEN) >> _TOP == 1).tobytes()


def _bands(asked: Words, answered: Words) -> bytes:
    rows = [part[: BANDS * ROWS].reshape(BANDS, ROWS) for part in (asked, answered)]
    raw = np.concatenate(rows, axis=1).astype("<u4").tobytes()
    size = len(raw) // BANDS
    return b"".join(
        xxh3_64_digest(raw[band * size : (band + 1) * size], seed=band) for band in range(BANDS)
    )
