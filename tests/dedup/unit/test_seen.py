"""A rebuild never takes a key for new that it has loaded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from promptmill.dedup.bulk import MAX_BITS, Seen


def numbers(seed: int, count: int) -> NDArray[np.uint64]:
    return np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)


def test_what_was_added_is_always_known() -> None:
    seen, added = Seen(50_000), numbers(1, 50_000)
    seen.add(added[:20_000])
    seen.add(added[20_000:])
    assert seen.add(added).all()


def test_few_new_ones_are_taken_for_known() -> None:
    seen = Seen(100_000)
    seen.add(numbers(1, 100_000))
    assert seen.add(numbers(2, 10_000)).mean() < 0.05


def test_numbers_of_one_call_are_not_known_from_it() -> None:
    same = np.full(2, 2**40 + 3, np.uint64)
    assert not Seen(1).add(same).any()


def test_its_memory_is_bounded() -> None:
    seen = Seen(10**12)
    assert seen._bits.nbytes == MAX_BITS // 8
