"""Tables of an older version get the new columns, and both versions go on writing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Thread

import pyarrow as pa
import pytest
from deltalake import DeltaTable, Field
from deltalake.schema import PrimitiveType

from promptmill.lake.ports import Sink, TableName
from promptmill.lake.table import TableHandle, TableSettings
from promptmill.lake.tables import TABLES
from promptmill.runtime.errors import Misconfigured
from support.store import DeltaStore, batch, identities, letter, record

pytestmark = pytest.mark.real
LETTERS, RECORDS = TableName.DEAD_LETTERS, TableName.RECORDS
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
        sink.take_over([0])
        return sink


def test_new_columns_are_added_and_an_older_store_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DeltaStore(tmp_path)
    old = old_sink(store, monkeypatch, *NEW)
    first = batch([(0, 0, letter(None, offset=1))], {0: (None, 1)}, LETTERS)
    old.commit(LETTERS, replace(first, rows=first.rows.select(older(*NEW).names)))
    new = store.sink()
    new.take_over([1])
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
    opened[0].take_over([0])
    opened[0].commit(LETTERS, batch([(0, 0, letter(None))], {0: (None, 1)}, LETTERS))
    assert store.rows(LETTERS)[0].keys() >= NEW


def test_a_column_that_is_never_null_cannot_be_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DeltaStore(tmp_path)
    old_sink(store, monkeypatch, "reason")
    with pytest.raises(Misconfigured, match="the columns reason are missing"):
        store.sink()


def altered(store: DeltaStore, table: TableName, column: Field) -> None:
    """Add a column as a colleague would."""
    DeltaTable(str(store.folder / table)).alter.add_columns([column])


def test_a_column_that_somebody_adds_in_mid_run_is_null(tmp_path: Path) -> None:
    store = DeltaStore(tmp_path)
    sink = store.sink()
    sink.take_over([0])
    sink.commit(RECORDS, batch([(0, 0, record("a"))], {0: (None, 1)}))
    altered(store, RECORDS, Field("reviewed_by", PrimitiveType("string"), nullable=True))
    sink.commit(RECORDS, batch([(0, 1, record("b"))], {0: (1, 2)}))
    store.sink()
    assert [row["reviewed_by"] for row in store.rows(RECORDS)] == [None, None]


def created(store: DeltaStore, schema: pa.Schema, **properties: str) -> None:
    """A table of records that another program has created."""
    known = TableSettings().as_properties() | identities()[RECORDS].as_properties() | properties
    TableHandle(str(store.folder / RECORDS)).create(schema, known, ["kind"])


def changed(name: str, kind: pa.DataType) -> pa.Schema:
    """The columns of records, this one with another type."""
    schema = TABLES[RECORDS].schema
    return schema.set(schema.get_field_index(name), pa.field(name, kind))


MAP = pa.map_(pa.string(), pa.string())


@pytest.mark.parametrize(
    ("schema", "named"),
    [
        (changed("reward", pa.string()), r"reward \(found .*string.*, needed .*double"),
        (changed("tags", MAP), "the columns tags hold maps"),
        (TABLES[RECORDS].schema.append(pa.field("x", MAP, nullable=False)), "the columns x"),
    ],
)
def test_an_incompatible_column_is_refused_at_the_start_by_name(
    tmp_path: Path, schema: pa.Schema, named: str
) -> None:
    store = DeltaStore(tmp_path)
    created(store, schema)
    with pytest.raises(Misconfigured, match=named):
        store.sink()


def test_a_table_without_partitions_is_refused(tmp_path: Path) -> None:
    store = DeltaStore(tmp_path)
    known = TableSettings().as_properties() | identities()[RECORDS].as_properties()
    TableHandle(str(store.folder / RECORDS)).create(TABLES[RECORDS].schema, known)
    with pytest.raises(Misconfigured, match="partitioned by"):
        store.sink()


def test_a_table_with_deletion_vectors_is_refused(tmp_path: Path) -> None:
    store = DeltaStore(tmp_path)
    created(store, TABLES[RECORDS].schema, **{"delta.enableDeletionVectors": "true"})
    with pytest.raises(Misconfigured, match=r"set delta\.enableDeletionVectors to false"):
        store.sink()
