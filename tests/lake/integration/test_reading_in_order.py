"""Rows are read in one order, with the memory of a batch however large a row group is."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from deltalake import DeltaTable, WriterProperties, write_deltalake

from promptmill.lake.leaves import scan_in_order

pytestmark = pytest.mark.real

ROWS, TEXT_BYTES, BATCH_ROWS = 4_000, 20_000, 100
COLUMNS = ("text", "shard_offset")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> DeltaTable:
    """Two kinds of rows in two files, each of one row group of 80 MB."""
    folder = tmp_path_factory.mktemp("table")
    for kind in ("sft", "preference"):
        offsets = range(ROWS)
        columns = {
            "run": pa.array(["even" if offset % 2 == 0 else "odd" for offset in offsets]),
            "kind": pa.array([kind] * ROWS),
            "shard": pa.array([0] * ROWS, pa.int32()),
            "shard_offset": pa.array(offsets, pa.int64()),
            "text": pa.array([f"{offset:05}" * (TEXT_BYTES // 5) for offset in offsets]),
        }
        write_deltalake(
            folder,
            pa.table(columns),
            mode="append",
            partition_by=["kind"],
            writer_properties=WriterProperties(max_row_group_size=ROWS),
        )
    return DeltaTable(folder)


def test_a_batch_and_not_a_row_group_is_in_memory(table: DeltaTable) -> None:
    before, held, offsets = pa.total_allocated_bytes(), [], []
    for batch in scan_in_order(table, COLUMNS, ds.field("kind") == "sft", BATCH_ROWS):
        held.append(pa.total_allocated_bytes() - before)
        offsets += batch["shard_offset"].to_pylist()
    assert offsets == list(range(ROWS))
    assert max(held) < ROWS * TEXT_BYTES / 4


@pytest.mark.parametrize(
    "condition",
    [
        None,
        ds.field("run") == "odd",
        (ds.field("run") == "odd") & ds.field("kind").isin(["preference"]),
        (ds.field("shard") == 0) & (ds.field("shard_offset") == 7),
        ds.field("run") == "neither",
    ],
    ids=["all", "run", "run and kind", "place", "none"],
)
def test_a_condition_selects_what_the_library_selects(
    table: DeltaTable, condition: ds.Expression | None
) -> None:
    found = [*scan_in_order(table, COLUMNS, condition, BATCH_ROWS)]
    wanted = table.to_pyarrow_dataset().to_table(list(COLUMNS), filter=condition)
    rows = pa.Table.from_batches(found, wanted.schema)
    by_place = [("shard_offset", "ascending")]
    assert rows.sort_by(by_place).equals(wanted.sort_by(by_place))
    assert all(batch.schema.names == list(COLUMNS) for batch in found)


def test_the_order_is_that_of_the_files(table: DeltaTable) -> None:
    found = [
        offset
        for batch in scan_in_order(table, ["shard_offset"], None, BATCH_ROWS)
        for offset in batch["shard_offset"].to_pylist()
    ]
    assert found == [*range(ROWS), *range(ROWS)]
