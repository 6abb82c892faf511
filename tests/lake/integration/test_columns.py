"""Tables of an older version get the new columns, and both versions go on writing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Thread

import pyarrow as pa
import pytest

from promptmill.lake.ports import Sink, TableName
from promptmill.lake.tables import TABLES
from promptmill.runtime.errors import Misconfigured
from support.store import DeltaStore, batch, letter

pytestmark = pytest.mark.real
LETTERS = TableName.DEAD_LETTERS
NEW = {"original_size", "original_digest"}


def older(*without: str) -> pa.Schema:
    """The columns of a version that did not know these."""
    return pa.schema([column for column in TABLES[LETTERS].schema if column.name not in without])


def old_sink(store: DeltaStore, monkeypatch: pytest.MonkeyPatch, *without: str) -> Sink:
    """A sink of such a version, with its tables, that owns shard 0."""
    with monkeypatch.context() as patch:
        spec = replace(TABLES[LETTERS], schema=older(*without))
        patch.setitem(TABLES, LETTERS, spec)
        sink = store.sink()
        sink.adopt([0])
        return sink


def test_new_columns_are_added_and_an_older_store_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DeltaStore(tmp_path)
    old = old_sink(store, monkeypatch, *NEW)
    first = batch([(0, 0, letter(None, offset=1))], {0: (None, 1)}, LETTERS)
    old.commit(LETTERS, replace(first, rows=first.rows.select(older(*NEW).names)))
    new = store.sink()
    new.adopt([1])
    head = letter(None, offset=2).model_copy(update={"original_size": 7})
    new.commit(LETTERS, batch([(1, 0, head)], {1: (None, 1)}, LETTERS))
    second = batch([(0, 1, letter(None, offset=3))], {0: (1, 2)}, LETTERS)
    old.commit(LETTERS, replace(second, rows=second.rows.select(older(*NEW).names)))
    found = [(r["shard"], r["offset"], r["original_size"]) for r in store.rows(LETTERS)]
    assert found == [(0, 1, None), (0, 3, None), (1, 2, 7)]


def test_several_sinks_that_add_the_same_columns_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DeltaStore(tmp_path)
    old_sink(store, monkeypatch, *NEW)
    opened: list[Sink] = []
    threads = [Thread(target=lambda: opened.append(store.sink())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == len(threads)
    opened[0].adopt([0])
    opened[0].commit(LETTERS, batch([(0, 0, letter(None))], {0: (None, 1)}, LETTERS))
    assert store.rows(LETTERS)[0].keys() >= NEW


def test_a_column_that_is_never_null_cannot_be_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DeltaStore(tmp_path)
    old_sink(store, monkeypatch, "reason")
    with pytest.raises(Misconfigured, match="the columns reason are missing"):
        store.sink()
