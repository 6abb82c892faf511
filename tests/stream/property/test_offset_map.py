"""The map in the commit's metadata: whole or ignored."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from promptmill.stream.offsets import MAX_CHARACTERS, MAX_SPAN, decode_map, encode_map

bases = st.integers(0, 2**50)
relative = st.sets(st.integers(1, MAX_SPAN - 1), max_size=400)


@given(base=bases, done=relative)
def test_a_map_reads_back_as_it_was_written(base: int, done: set[int]) -> None:
    offsets = {base + offset for offset in done}
    assert decode_map("t-0", base, encode_map("t-0", base, offsets)) == offsets


@given(base=bases, done=relative.filter(bool), other=st.integers(-3, 3).filter(bool))
def test_a_map_of_another_commit_or_partition_is_ignored(
    base: int, done: set[int], other: int
) -> None:
    text = encode_map("t-0", base, {base + offset for offset in done})
    assert decode_map("t-0", base + other, text) == frozenset()
    assert decode_map("t-1", base, text) == frozenset()


@given(done=relative.filter(bool), at=st.integers(0, 5_000), symbol=st.characters())
def test_a_damaged_map_is_ignored(done: set[int], at: int, symbol: str) -> None:
    text = encode_map("t-0", 7, {7 + offset for offset in done})
    index = at % len(text)
    damaged = text[:index] + symbol + text[index + 1 :]
    assert decode_map("t-0", 7, damaged) == (
        decode_map("t-0", 7, text) if damaged == text else frozenset()
    )


@given(text=st.text(max_size=200))
def test_any_other_metadata_is_ignored(text: str) -> None:
    assert decode_map("t-0", 7, text) == frozenset()


def test_the_worst_map_of_a_full_window_fits_the_metadata() -> None:
    chance = random.Random(7)
    done = {o for o in range(1, MAX_SPAN) if chance.random() < 0.5}
    text = encode_map("t-0", 0, done)
    assert 2_000 < len(text) <= MAX_CHARACTERS
    assert decode_map("t-0", 0, text) == done


def test_offsets_beyond_the_span_are_left_out() -> None:
    assert decode_map("t-0", 5, encode_map("t-0", 5, {6, 5 + MAX_SPAN})) == {6}
    assert encode_map("t-0", 5, {5 + MAX_SPAN, 1}) == ""
