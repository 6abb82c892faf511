"""A merged file is as good to read as one that was written at once."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from promptmill.lake import compaction
from promptmill.lake.compaction import compact
from promptmill.lake.ports import TableName
from support.store import AT, DeltaStore, batch, prompt

pytestmark = pytest.mark.real

PROMPTS = TableName.PROMPTS
COMMITS = 60


@pytest.fixture
def store(tmp_path: Path) -> DeltaStore:
    """Sixty commits of ten prompts each, of three runs and sixty moments."""
    store = DeltaStore(tmp_path / "store")
    sink = store.sink()
    sink.take_over([0])
    for number in range(COMMITS):
        first, moment = 10 * number, AT + timedelta(seconds=number, microseconds=number)
        rows = [
            prompt(str(first + i), f"run-{number % 3}").model_copy(update={"created_at": moment})
            for i in range(10)
        ]
        placed = [(0, first + i, row) for i, row in enumerate(rows)]
        sink.commit(PROMPTS, batch(placed, {0: (first or None, first + 10)}, PROMPTS))
    return store


def table(store: DeltaStore) -> DeltaTable:
    """The table of prompts now."""
    return DeltaTable(str(store.folder / PROMPTS))


def actions(store: DeltaStore) -> list[dict[str, Any]]:
    """What the log says of the files."""
    found: list[dict[str, Any]] = pa.table(table(store).get_add_actions(flatten=True)).to_pylist()
    return found


def merged(store: DeltaStore) -> pq.FileMetaData:
    """The one file that there is."""
    (path,) = table(store).file_uris()
    return pq.ParquetFile(path).metadata


def test_many_small_files_become_one_row_group(store: DeltaStore) -> None:
    assert compact(str(store.folder / PROMPTS)) == COMMITS
    assert (merged(store).num_rows, merged(store).num_row_groups) == (600, 1)


def test_a_row_group_ends_at_its_number_of_rows(
    store: DeltaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "ROW_GROUP_ROWS", 200)
    compact(str(store.folder / PROMPTS))
    groups = [merged(store).row_group(i).num_rows for i in range(merged(store).num_row_groups)]
    assert groups == [200, 200, 200]


def test_a_row_group_ends_at_its_bytes(store: DeltaStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "ROW_GROUP_BYTES", 1)
    compact(str(store.folder / PROMPTS))
    assert merged(store).num_row_groups == COMMITS


def test_every_bound_of_a_files_columns_survives(store: DeltaStore) -> None:
    before, rows = actions(store), store.rows(PROMPTS)
    compact(str(store.folder / PROMPTS))
    (after,) = actions(store)
    for column in ("run", "created_at", "shard", "shard_offset"):
        assert after[f"min.{column}"] == min(file[f"min.{column}"] for file in before), column
        assert after[f"max.{column}"] == max(file[f"max.{column}"] for file in before), column
    assert after["num_records"] == len(rows)
    assert store.rows(PROMPTS) == rows


def test_a_table_is_written_a_few_times_over_its_life(store: DeltaStore) -> None:
    stored = sum(file["size_bytes"] for file in actions(store))
    for _ in range(5):
        compact(str(store.folder / PROMPTS))
    on_disk = sum(file.stat().st_size for file in (store.folder / PROMPTS).glob("*.parquet"))
    assert on_disk <= 2 * stored
