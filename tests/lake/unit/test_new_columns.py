"""Tables of an earlier version are taken on: columns that may be null are added."""

from __future__ import annotations

from pathlib import Path

import pytest
from deltalake import DeltaTable

from promptmill.lake.ports import Advance, Batch, TableName
from promptmill.lake.sink import DeltaSink
from promptmill.lake.table import TableHandle, TableSettings
from promptmill.lake.tables import TABLES
from support.claims import content_key
from support.store import identities, record, rows

pytestmark = pytest.mark.real

NAME = TableName.RECORDS


def create_without(folder: Path, column: str) -> None:
    schema = TABLES[NAME].schema
    schema = schema.remove(schema.get_field_index(column))
    properties = TableSettings().as_properties() | identities()[NAME].as_properties()
    TableHandle(str(folder / NAME)).create(schema, properties, TABLES[NAME].partition_columns)


def test_a_records_table_without_content_keys_gets_the_column(tmp_path: Path) -> None:
    create_without(tmp_path, "content_key_2")
    before = DeltaTable(str(tmp_path / NAME)).metadata().id
    sink = DeltaSink(str(tmp_path), identities())
    sink.open()
    sink.take_over([0])
    sink.commit(NAME, Batch(rows([(0, 0, record("a"))]), {0: Advance(None, 1)}))
    table = DeltaTable(str(tmp_path / NAME))
    (row,) = table.to_pyarrow_table().to_pylist()
    known = record("a")
    assert row["content_key_2"] == content_key("sft", known.messages[:-1], known.chosen)
    assert table.metadata().id == before


def test_two_stores_that_open_an_older_table_at_once_both_go_on(tmp_path: Path) -> None:
    create_without(tmp_path, "content_key_2")
    first, second = (DeltaSink(str(tmp_path), identities()) for _ in range(2))
    first.open()
    second.open()
    for shard, sink in enumerate((first, second)):
        sink.take_over([shard])
        sink.commit(NAME, Batch(rows([(shard, 0, record("a"))]), {shard: Advance(None, 1)}))
    assert DeltaTable(str(tmp_path / NAME)).to_pyarrow_table().num_rows == 2
