"""The index of what is settled: exact, in any order, through merges, and small."""

from __future__ import annotations

import tracemalloc
from hashlib import blake2b

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.lake.ids import Words, high_word, in_order, key_of, words_of
from promptmill.store.index import UNKNOWN, Entries, PromptState, SettledIndex, State

IDS = st.one_of(st.integers(0, 2**128 - 1), st.integers(0, 3), st.integers(2**64, 2**64 + 3)).map(
    lambda number: f"{number:032x}"
)
NOTES = st.tuples(IDS, st.sampled_from((1, 2, 4, 8)), st.none() | IDS, st.integers(0, 5))


def some_id(number: int) -> str:
    """Id ``number``, spread as digests are."""
    return blake2b(number.to_bytes(8, "big"), digest_size=16).hexdigest()


@settings(deadline=None)
@given(st.lists(NOTES), st.sets(st.integers(0, 40)))
def test_what_was_noted_is_found_whenever_it_is_merged(
    notes: list[tuple[str, int, str | None, int]], merges: set[int]
) -> None:
    index, expected = SettledIndex(), dict[str, PromptState]()
    for step, (prompt, state, decision, replays) in enumerate(notes):
        index.note(prompt, state, decision_id=decision, replays=replays)
        new = PromptState(state, high_word(decision) if decision else 0, replays)
        expected[prompt] = expected.get(prompt, UNKNOWN).joined(new)
        if step in merges:
            index.merge()
    assert {prompt: index.prompt_state(prompt) for prompt in expected} == expected
    assert index.prompt_state("f" * 32) == expected.get("f" * 32, UNKNOWN)


@settings(deadline=None)
@given(st.lists(IDS), st.lists(IDS))
def test_loaded_and_noted_entries_are_one_index(loaded: list[str], noted: list[str]) -> None:
    index = SettledIndex()
    index.load(Entries.of(*words_of(pa.array(loaded, pa.string())), State.PUBLISHED))
    index.merge()
    for prompt in noted:
        index.note(prompt, State.ACCEPTED, decision_id=prompt)
    for prompt in {*loaded, *noted}:
        state = index.prompt_state(prompt).state
        assert bool(state & State.PUBLISHED) == (prompt in loaded)
        assert bool(state & State.ACCEPTED) == (prompt in noted)


@settings(deadline=None)
@given(st.lists(IDS), st.lists(IDS), IDS)
def test_records_are_known_by_their_first_half(
    loaded: list[str], added: list[str], other: str
) -> None:
    index = SettledIndex()
    index.load(Entries.of(*words_of(pa.array([], pa.string())), State.UNKNOWN), _high(loaded))
    index.merge()
    for record in added:
        index.add_record(record)
    known = {high_word(record) for record in (*loaded, *added)}
    assert all(index.has_record(record) for record in (*loaded, *added))
    assert index.has_record(other) == (high_word(other) in known)


def _high(ids: list[str]) -> Words:
    return words_of(pa.array(ids, pa.string()))[0]


@settings(deadline=None)
@given(st.lists(IDS), st.integers(0, 3))
def test_a_column_of_ids_is_read_as_numbers(ids: list[str], skipped: int) -> None:
    high, low = words_of(pa.array(["0" * 32] * skipped + ids, pa.string()).slice(skipped))
    found = [(int(h) << 64) | int(w) for h, w in zip(high, low, strict=True)]
    assert found == [key_of(identity) for identity in ids]


FEW_WORDS = st.sampled_from((0, 1, 7, 2**63, 2**64 - 2, 2**64 - 1))
"""So few that several ids share their first bits, or all of them."""


@settings(deadline=None)
@given(st.lists(st.tuples(FEW_WORDS, FEW_WORDS)))
def test_ids_are_ordered_by_both_words_however_alike_they_are(ids: list[tuple[int, int]]) -> None:
    words = np.array(ids, np.uint64).reshape(-1, 2)
    order, high, low = in_order(words[:, 0], words[:, 1])
    assert list(zip(high.tolist(), low.tolist(), strict=True)) == sorted(ids)
    assert [ids[place] for place in order] == sorted(ids)


def test_letters_without_a_prompt_are_known_by_their_own_id() -> None:
    index = SettledIndex()
    index.add_letter(some_id(1))
    assert index.has_letter(some_id(1))
    assert not index.has_letter(some_id(2))


def test_a_prompt_with_a_record_costs_at_most_40_bytes() -> None:
    count = 100_000
    ids = pa.array([some_id(number) for number in range(count)], pa.string())
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    index, (high, low) = SettledIndex(), words_of(ids)
    index.load(Entries.of(high, low, State.PUBLISHED))
    index.load(Entries.of(high, low, State.ACCEPTED, decision=high.copy()), records=high)
    index.merge()
    for number in range(count, count + count // 64):
        index.note(some_id(number), State.ACCEPTED, decision_id=some_id(number))
        index.add_record(some_id(number))
    del high, low
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert held / (count + count // 64) <= 42
    assert index.nbytes / count <= 38
    assert np.all(np.diff(index._records.astype(np.float64)) >= 0)
