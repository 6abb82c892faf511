"""A dead letter that was sent again is marked by a further row, whatever others append."""

from __future__ import annotations

import os
from base64 import b64encode
from pathlib import Path

import pytest
from deltalake import DeltaTable

from promptmill.cli.dead_letters import read_letters
from promptmill.cli.store_counts import DeltaCounts
from promptmill.lake.compaction import compact
from promptmill.lake.counts import RunCounter
from promptmill.lake.ports import Sink, TableName
from promptmill.lake.reader import DeltaReader
from promptmill.store.loading import load_indexes
from promptmill_schemas import DeadLetter
from support.store import DeltaStore, batch, letter, pid

pytestmark = pytest.mark.real

LETTERS = TableName.DEAD_LETTERS
MARK_BYTES = 64 * 1024
"""More than one small Parquet file and one entry of the log."""


@pytest.fixture
def store(tmp_path: Path) -> DeltaStore:
    """An empty store."""
    return DeltaStore(tmp_path / "store")


def marked(original: DeadLetter) -> DeadLetter:
    """The row that says that it was sent again; it holds no bytes of the original."""
    return original.model_copy(update={"state": "replayed", "value": None})


def size(store: DeltaStore) -> int:
    """Bytes of everything under the table."""
    return sum(file.stat().st_size for file in (store.folder / LETTERS).rglob("*.*"))


def test_a_mark_writes_one_small_file_into_a_table_of_many_letters(store: DeltaStore) -> None:
    sink = store.sink()
    sink.take_over([0])
    letters = [
        letter(str(n), offset=n).model_copy(update={"value": b64encode(os.urandom(2048)).decode()})
        for n in range(1000)
    ]
    sink.commit(
        LETTERS, batch([(0, *pair) for pair in enumerate(letters)], {0: (None, 1000)}, LETTERS)
    )
    before = size(store)
    sink.commit(LETTERS, batch([(0, -1, marked(letters[5]))], {0: (1000, 1000)}, LETTERS))
    assert size(store) - before < MARK_BYTES
    assert [
        each.letter_id
        for each in read_letters(DeltaReader(str(store.folder)), {"state": "replayed"})
    ] == [letters[5].letter_id]


def test_letters_of_another_sink_do_not_refuse_a_mark(store: DeltaStore) -> None:
    """A mark that had to read the table would be refused by each of these, and starve."""
    other: Sink | None = None
    taken = 0

    def meanwhile(step: str) -> None:
        nonlocal taken
        if step == f"checked:{LETTERS}" and other is not None:
            made = letter(str(taken), offset=taken)
            other.commit(
                LETTERS, batch([(1, taken, made)], {1: (taken or None, taken + 1)}, LETTERS)
            )
            taken += 1

    one = store.sink(step=meanwhile)
    one.take_over([0])
    one.commit(LETTERS, batch([(0, 0, letter("a", offset=500))], {0: (None, 1)}, LETTERS))
    other = store.sink()
    other.take_over([1])
    version = DeltaTable(str(store.folder / LETTERS)).version()
    one.commit(LETTERS, batch([(0, -1, marked(letter("a", offset=500)))], {0: (1, 1)}, LETTERS))
    assert (taken, DeltaTable(str(store.folder / LETTERS)).version()) == (1, version + 2)


def test_a_compaction_beside_a_mark_keeps_the_letter_and_its_state(store: DeltaStore) -> None:
    """Files are replaced between the check of the mark and its commit, and again after it."""
    folder = str(store.folder / LETTERS)
    merged: list[int] = []

    def meanwhile(step: str) -> None:
        if step == f"checked:{LETTERS}" and not merged:
            merged.append(compact(folder, growth=1))

    letters = [letter("a", offset=0), letter("b", offset=1)]
    before = store.sink()
    before.take_over([0])
    for at, each in enumerate(letters):
        before.commit(LETTERS, batch([(0, at, each)], {0: (at or None, at + 1)}, LETTERS))
    sink = store.sink(step=meanwhile)
    sink.take_over([0])
    sink.commit(LETTERS, batch([(0, -1, marked(letters[0]))], {0: (2, 2)}, LETTERS))
    merged.append(compact(folder, growth=1))
    assert merged == [2, 2]
    found = read_letters(DeltaReader(str(store.folder)), {})
    assert {each.letter_id: (each.state, each.value) for each in found} == {
        letters[0].letter_id: ("replayed", letters[0].value),
        letters[1].letter_id: ("dead", letters[1].value),
    }


def test_letters_that_were_changed_in_place_are_read_as_before(store: DeltaStore) -> None:
    """Tables of versions up to 0005's first form hold the state in the letter's own row."""
    sink = store.sink()
    sink.take_over([0])
    rows = [
        letter("a"),
        letter("b", offset=1).model_copy(update={"state": "replayed"}),
        letter(None, offset=2).model_copy(update={"state": "replayed"}),
    ]
    sink.commit(LETTERS, batch([(0, *pair) for pair in enumerate(rows)], {0: (None, 3)}, LETTERS))
    reader = DeltaReader(str(store.folder))
    assert DeltaCounts(reader).settled("test").dead == RunCounter(reader, "test").counts().dead == 1
    states = {each.letter_id: each.state for each in read_letters(reader, {})}
    assert states == {row.letter_id: row.state for row in rows}
    index = load_indexes(sink, [0])[0]
    assert index.letter_of(pid("a")) == rows[0].letter_id
    assert index.letter_of(pid("b")) is None
    assert index.prompt_state(pid("b")).is_dead


def test_every_reader_takes_the_latest_state(store: DeltaStore) -> None:
    sink = store.sink()
    sink.take_over([0])
    dead, sent = letter("a"), letter("b", offset=1)
    sink.commit(LETTERS, batch([(0, 0, dead), (0, 1, sent)], {0: (None, 2)}, LETTERS))
    sink.commit(LETTERS, batch([(0, -1, marked(sent))] * 2, {0: (2, 2)}, LETTERS))
    reader = DeltaReader(str(store.folder))
    assert DeltaCounts(reader).settled("test").dead == RunCounter(reader, "test").counts().dead == 1
    assert [each.letter_id for each in read_letters(reader, {"state": "dead"})] == [dead.letter_id]
    (found,) = read_letters(reader, {"prompt_id": pid("b")})
    assert (found.state, found.value) == ("replayed", sent.value)
