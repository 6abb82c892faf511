"""Where claims lie, and how large their buckets become."""

from __future__ import annotations

import pytest

from promptmill.dedup.layout import ENTRIES_PER_BUCKET, MAX_BITS, KeyLayout, bits_for
from promptmill_schemas.ids import digest

LISTPACK_ENTRIES = 512


@pytest.mark.parametrize("expected", [1, 1000, 100_000, 10_000_000, 1_000_000_000])
def test_buckets_stay_small_for_what_is_expected(expected: int) -> None:
    assert expected / 2 ** bits_for(expected) <= ENTRIES_PER_BUCKET


@pytest.mark.parametrize("expected", [100_000, 10_000_000, 1_000_000_000])
def test_six_times_the_expected_records_still_fit(expected: int) -> None:
    assert 3 * expected / 2 ** bits_for(expected) < 256
    assert 6 * expected / 2 ** bits_for(expected) < LISTPACK_ENTRIES


def test_bits_are_bounded() -> None:
    assert bits_for(10**15) == MAX_BITS


def test_ids_are_spread_evenly_over_the_buckets() -> None:
    layout = KeyLayout("n", 8, "g")
    buckets = [layout.decision(digest("prompt", number))[0] for number in range(25_600)]
    sizes = [buckets.count(bucket) for bucket in set(buckets)]
    assert len(sizes) == 256
    assert max(sizes) < 160


def test_keys_of_a_namespace_share_their_hash_tag_and_tables_differ() -> None:
    layout, id_ = KeyLayout("data", 16, "g"), digest("x")
    decision, content = layout.decision(id_)[0], layout.content(id_)[0]
    assert decision.startswith(b"{data}:g:d:")
    assert content.startswith(b"{data}:g:c:")


@pytest.mark.parametrize("bits", [8, 16, 24])
def test_bucket_and_field_together_tell_ids_apart_by_twelve_bytes(bits: int) -> None:
    layout, base = KeyLayout("n", bits, "g"), bytes(range(16))
    places = set()
    for position in range(2, 12):
        other = bytearray(base)
        other[position] ^= 1
        places.add(layout.decision(other.hex()))
    assert len(places) == 10
