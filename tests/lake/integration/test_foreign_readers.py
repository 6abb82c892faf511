"""Readers that know nothing of promptmill open the tables and their files."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from promptmill.lake.compaction import compact
from promptmill.lake.ports import TableName
from promptmill_schemas import Record
from support.store import SCORES, DeltaStore, batch, letter, prompt, record, reject

pytestmark = pytest.mark.real

duckdb = pytest.importorskip("duckdb")
pl = pytest.importorskip("polars")

RECORDS = TableName.RECORDS
CONTRACTS = {
    TableName.PROMPTS: prompt("a"),
    RECORDS: record("a"),
    TableName.REJECTS: reject("b"),
    TableName.DEAD_LETTERS: letter("c"),
}


def pair(text: str) -> Record:
    """A preference of this prompt."""
    known = record(text)
    return known.model_copy(
        update={
            "kind": "preference",
            "messages": known.messages[:1],
            "rejected": "no",
            "rejected_scores": SCORES,
            "rejected_reward": 1.0,
            "margin": 3.0,
        }
    )


@pytest.fixture
def store(tmp_path: Path) -> DeltaStore:
    """A store with a row in every table, and two kinds of records in six commits."""
    store = DeltaStore(tmp_path / "store")
    sink = store.sink()
    sink.take_over([0, 1])
    for name, contract in CONTRACTS.items():
        sink.commit(name, batch([(0, 0, contract)], {0: (None, 1)}, name))
    for offset in range(6):
        row = pair(str(offset)) if offset % 2 else record(str(offset))
        sink.commit(RECORDS, batch([(1, offset, row)], {1: (offset or None, offset + 1)}))
    return store


def kinds(store: DeltaStore) -> list[tuple[str, int, str]]:
    """DuckDB's count and first response of each kind."""
    records = DeltaTable(str(store.folder / RECORDS)).to_pyarrow_dataset()
    query = "select kind, count(*), min(tags->>'domain') from records group by kind order by kind"
    found = duckdb.connect().register("records", records).execute(query).fetchall()
    return [(str(kind), int(count), str(tag)) for kind, count, tag in found]


def has_map(kind: pa.DataType) -> bool:
    """Whether a column holds a map at any depth."""
    parts = [kind.field(i).type for i in range(kind.num_fields)]
    return bool(pa.types.is_map(kind)) or any(map(has_map, parts))


def test_no_file_of_any_table_holds_a_map(store: DeltaStore) -> None:
    for name in TableName:
        for uri in DeltaTable(str(store.folder / name)).file_uris():
            assert not [c.name for c in pq.read_schema(uri) if has_map(c.type)], uri


def test_duckdb_reads_both_kinds_before_and_after_a_compaction(store: DeltaStore) -> None:
    expected = [("preference", 3, "tests"), ("sft", 4, "tests")]
    assert kinds(store) == expected
    assert compact(str(store.folder / RECORDS), growth=1) == 7
    assert kinds(store) == expected


def test_polars_reads_the_flat_columns_of_one_kind(store: DeltaStore) -> None:
    table = pl.scan_delta(str(store.folder / RECORDS)).filter(pl.col("kind") == "preference")
    rows = table.select("prompt", "response", "chosen", "rejected").sort("prompt").collect()
    assert rows["prompt"].to_list() == ["1", "3", "5"]
    assert rows["response"].to_list() == rows["chosen"].to_list()
    assert rows["rejected"].to_list() == ["no"] * 3


def test_a_compaction_keeps_each_kind_in_its_partition(store: DeltaStore) -> None:
    before = store.rows(RECORDS)
    compact(str(store.folder / RECORDS), growth=1)
    table = DeltaTable(str(store.folder / RECORDS))
    files = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    assert sorted(file["partition.kind"] for file in files) == ["preference", "sft"]
    assert all(file["path"].startswith(f"kind={file['partition.kind']}/") for file in files)
    bounds = [(file["min.shard_offset"], file["max.shard_offset"]) for file in files]
    assert sorted(bounds) == [(0, 4), (1, 5)]
    assert all(file["min.created_at"] and file["min.prompt_id"] for file in files)
    assert store.rows(RECORDS) == before
