"""What every sink promises: rows and positions together, one writer for a shard."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from promptmill.lake.identity import Identity
from promptmill.lake.ports import COUNTED, Advance, Batch, Fenced, TableName
from promptmill.runtime.errors import Misconfigured
from support.store import AnyStore, batch, identities, letter, pid, record
from support.store_audit import latest_letters

RECORDS, LETTERS = TableName.RECORDS, TableName.DEAD_LETTERS


def stored(store: AnyStore) -> list[str]:
    """The prompts of all records, sorted; duplicates show."""
    return sorted(row["prompt_id"] for row in store.rows(RECORDS))


def test_a_new_store_has_taken_nothing(store: AnyStore) -> None:
    ownership = store.sink().take_over([0, 3])
    assert ownership.kept == frozenset()
    assert ownership.next_offsets == {name: {0: None, 3: None} for name in TableName}


def test_rows_and_positions_are_found_by_the_next_owner(store: AnyStore) -> None:
    first = store.sink()
    first.take_over([0, 1])
    first.commit(
        RECORDS, batch([(0, 4, record("a")), (1, 9, record("b"))], {0: (None, 5), 1: (None, 10)})
    )
    second = store.sink()
    assert second.take_over([0, 1]).next_offsets[RECORDS] == {0: 5, 1: 10}
    assert stored(store) == sorted([pid("a"), pid("b")])


def test_the_last_message_is_kept_with_the_position(store: AnyStore) -> None:
    sink = store.sink()
    assert sink.take_over([0]).last_messages == {name: {0: None} for name in TableName}
    largest = 2**63 - 1
    for expected, last in [(None, largest), (1, 7), (2, None)]:
        step = Advance(expected, (expected or 0) + 1, last)
        sink.commit(RECORDS, Batch(batch([], {}).rows, {0: step}))
    found = store.sink().take_over([0])
    assert (found.next_offsets[RECORDS], found.last_messages[RECORDS]) == ({0: 3}, {0: 7})


def test_a_position_moves_on_without_a_row(store: AnyStore) -> None:
    sink = store.sink()
    sink.take_over([2])
    sink.commit(RECORDS, batch([], {2: (None, 7)}))
    sink.commit(RECORDS, batch([(2, 7, record("a"))], {2: (7, 8)}))
    assert sink.take_over([2]).next_offsets[RECORDS] == {2: 8}


def test_only_the_ids_of_the_asked_shards_are_read(store: AnyStore) -> None:
    sink = store.sink()
    sink.take_over([0, 1])
    sink.commit(
        RECORDS, batch([(0, 0, record("a")), (1, 0, record("b"))], {0: (None, 1), 1: (None, 1)})
    )
    found = [part.to_pylist() for part in sink.ids(RECORDS, [1])]
    (row,) = [row for part in found for row in part]
    assert (row["shard"], row["prompt_id"]) == (1, pid("b"))


def test_an_earlier_owner_can_no_longer_write(store: AnyStore) -> None:
    zombie, owner = store.sink(), store.sink()
    zombie.take_over([0, 1])
    owner.take_over([1])
    with pytest.raises(Fenced) as fenced:
        zombie.commit(
            RECORDS, batch([(0, 0, record("a")), (1, 0, record("b"))], {0: (None, 1), 1: (None, 1)})
        )
    assert fenced.value.shards == {1}
    zombie.commit(RECORDS, batch([(0, 0, record("a"))], {0: (None, 1)}))
    owner.commit(RECORDS, batch([(1, 0, record("b"))], {1: (None, 1)}))
    assert stored(store) == sorted([pid("a"), pid("b")])


def test_a_claim_fences_every_table(store: AnyStore) -> None:
    zombie, owner = store.sink(), store.sink()
    zombie.take_over([0])
    zombie.commit(RECORDS, batch([(0, 0, record("a"))], {0: (None, 1)}))
    owner.take_over([0])
    for table in TableName:
        with pytest.raises(Fenced):
            zombie.commit(table, batch([], {0: (None, 1)}, table))


def test_a_shard_is_kept_when_nobody_else_has_claimed_it(store: AnyStore) -> None:
    sink, other = store.sink(), store.sink()
    assert sink.take_over([0, 1]).kept == frozenset()
    sink.commit(RECORDS, batch([(0, 0, record("a"))], {0: (None, 1)}))
    assert sink.take_over([0, 1]).kept == {0, 1}
    other.take_over([1])
    again = sink.take_over([0, 1])
    assert again.kept == {0}
    assert again.next_offsets[RECORDS] == {0: 1, 1: None}
    with pytest.raises(Fenced):
        other.commit(RECORDS, batch([], {1: (None, 1)}))


def test_the_same_batch_twice_is_stored_once(store: AnyStore) -> None:
    sink = store.sink()
    sink.take_over([0])
    sink.commit(RECORDS, batch([(0, 0, record("a"))], {0: (None, 1)}))
    sink.commit(RECORDS, batch([(0, 0, record("a"))], {0: (None, 1)}))
    assert stored(store) == [pid("a")]


def test_a_batch_from_another_position_is_refused(store: AnyStore) -> None:
    sink = store.sink()
    sink.take_over([0])
    sink.commit(RECORDS, batch([(0, 0, record("a"))], {0: (None, 1)}))
    with pytest.raises(Fenced):
        sink.commit(RECORDS, batch([(0, 5, record("b"))], {0: (5, 6)}))
    assert stored(store) == [pid("a")]


def test_a_row_is_added_without_a_move(store: AnyStore) -> None:
    sink = store.sink()
    sink.take_over([0, 1])
    sink.commit(LETTERS, batch([(0, 0, letter("a"))], {0: (None, 1)}, LETTERS))
    mark = batch([(0, -1, letter("a", state="replayed"))], {0: (1, 1), 1: (None, 4)}, LETTERS)
    for _ in range(2):
        sink.commit(LETTERS, mark)
    found = [(row["shard_offset"], row["state"]) for row in store.rows(LETTERS)]
    assert found == [(-1, "replayed"), (0, "dead")]
    assert sink.take_over([0, 1]).next_offsets[LETTERS] == {0: 1, 1: 4}


def test_rows_alone_are_a_commit_too(store: AnyStore) -> None:
    sink = store.sink()
    sink.take_over([0])
    sink.commit(LETTERS, batch([(0, 0, letter("a"))], {0: (None, 1)}, LETTERS))
    sink.commit(LETTERS, batch([(0, -1, letter("a", state="replayed"))], {0: (1, 1)}, LETTERS))
    (found,) = latest_letters(store.rows(LETTERS))
    assert (found["state"], found["value"]) == ("replayed", letter("a").value)


@pytest.mark.parametrize("position", [0, 1])
def test_an_earlier_owner_cannot_mark(store: AnyStore, position: int) -> None:
    """Neither by the epoch nor, were it the owner, from another position."""
    zombie, owner = store.sink(), store.sink()
    zombie.take_over([0])
    zombie.commit(LETTERS, batch([(0, 0, letter("a"))], {0: (None, 1)}, LETTERS))
    if position == 1:
        owner.take_over([0])
    mark = [(0, -1, letter("a", state="replayed"))]
    with pytest.raises(Fenced):
        zombie.commit(LETTERS, batch(mark, {0: (position, position)}, LETTERS))
    assert [row["state"] for row in store.rows(LETTERS)] == ["dead"]


def test_compaction_changes_no_row(store: AnyStore) -> None:
    sink = store.sink()
    sink.take_over([0])
    for offset in range(5):
        step = {0: (offset or None, offset + 1)}
        sink.commit(RECORDS, batch([(0, offset, record(str(offset)))], step))
    sink.compact(RECORDS)
    expected = sorted(pid(str(offset)) for offset in range(5))
    assert stored(store) == expected
    sink.commit(RECORDS, batch([(0, 5, record("5"))], {0: (5, 6)}))
    assert len(stored(store)) == 6


@pytest.mark.parametrize(
    ("changed", "named"),
    [(identities(cluster="other"), "cluster_id"), (identities(partitions=5), "partitions")],
)
def test_tables_of_another_log_are_refused(
    store: AnyStore, changed: Mapping[TableName, Identity], named: str
) -> None:
    store.sink()
    with pytest.raises(Misconfigured, match=named):
        store.sink(changed)


def test_topics_with_different_numbers_of_partitions_are_refused(store: AnyStore) -> None:
    mixed = identities() | {RECORDS: identities(partitions=5)[RECORDS]}
    with pytest.raises(Misconfigured, match="records has 5"):
        store.sink(mixed)


def test_a_shard_without_counts_by_run_says_so_until_it_is_counted(store: AnyStore) -> None:
    sink = store.sink()
    assert sink.take_over([0, 1]).uncounted == dict.fromkeys(TableName, frozenset())
    sink.commit(RECORDS, batch([(0, 0, record("a"))], {0: (None, 1)}))
    assert sink.take_over([0, 1]).uncounted[RECORDS] == {0}
    counted = Batch(batch([], {}).rows, {0: Advance(1, 1)}, {(0, COUNTED): 1, (0, "test"): 1})
    sink.commit(RECORDS, counted)
    sink.commit(RECORDS, counted)  # again changes nothing
    assert store.sink().take_over([0, 1]).uncounted == dict.fromkeys(TableName, frozenset())
    assert len(stored(store)) == 1
