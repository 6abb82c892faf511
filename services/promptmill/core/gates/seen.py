"""Which keys a rebuild has loaded before, in bounded memory: a Bloom filter.

It never misses one; some that are new are taken for known (1.5 % when it is as full as it is sized
for), and these are only loaded more slowly.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

BITS_PER_KEY: Final = 16
MIN_BITS, MAX_BITS = 2**16, 2**29
"""64 MiB at most. Beyond 32 million keys more of them are loaded slowly: 10 % at 100 million."""


class Seen:
    """A set of numbers whose bits are evenly distributed, as those of digests are.

    Args:
        expected: numbers that it is sized for.
    """

    def __init__(self, expected: int) -> None:
        wanted = 1 << (expected * BITS_PER_KEY - 1).bit_length()
        size = min(max(wanted, MIN_BITS), MAX_BITS)
        self._mask = np.uint64(size - 1)
        self._bits = np.zeros(size // 8, np.uint8)

    def add(self, numbers: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Add them all; returns which of them may have been added by an earlier call."""
        known = np.ones(len(numbers), np.bool_)
        places = [(numbers >> np.uint64(shift)) & self._mask for shift in (0, 32)]
        bits = [np.left_shift(1, (place & np.uint64(7)).astype(np.uint8)) for place in places]
        for place, bit in zip(places, bits, strict=True):
            known &= (self._bits[place >> np.uint64(3)] & bit) != 0
        for place, bit in zip(places, bits, strict=True):
            np.bitwise_or.at(self._bits, place >> np.uint64(3), bit.astype(np.uint8))
        return known
