"""What a rebuild reads from the store's tables: the claims that its rows were accepted by."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pytest

from promptmill.dedup.ports import Claimed, Decisions
from promptmill.filter import published as stored
from promptmill.filter.content import claimed_from_record, claimed_from_reject
from promptmill.lake.ports import Advance, Batch, TableName
from promptmill.lake.reader import DeltaReader, Snapshot
from promptmill_schemas import Record, Reject
from support.store import DeltaStore, record, reject, rows

pytestmark = pytest.mark.real

RECORDS = [record(f"text {number}", replays=number % 3) for number in range(20)]
REJECTS = [reject(f"bad {number}") for number in range(7)]


def written(folder: Path, table: TableName, made: pa.Table) -> Snapshot:
    sink = DeltaStore(folder).sink()
    sink.take_over([0])
    sink.commit(table, Batch(made, {0: Advance(None, made.num_rows)}))
    snapshot = DeltaReader(str(folder)).snapshot(table)
    assert snapshot is not None
    return snapshot


def numbered(messages: Iterable[Record | Reject], table: TableName) -> pa.Table:
    return rows([(0, offset, each) for offset, each in enumerate(messages)], table)


def every(blocks: Iterable[Decisions | list[Claimed]]) -> list[Claimed]:
    return sorted((each for block in blocks for each in block), key=lambda each: each.prompt_id)


def by_prompt(claims: Iterable[Claimed]) -> list[Claimed]:
    return sorted(claims, key=lambda each: each.prompt_id)


@pytest.mark.parametrize("rows_of_a_block", [1, 500_000])
def test_records_are_read_without_their_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_of_a_block: int
) -> None:
    monkeypatch.setattr(stored, "BLOCK_ROWS", rows_of_a_block)
    snapshot = written(tmp_path, TableName.RECORDS, numbered(RECORDS, TableName.RECORDS))
    blocks = list(stored.stored_records(snapshot, sketched=False))
    assert every(blocks) == by_prompt(map(claimed_from_record, RECORDS))
    assert all(isinstance(block, Decisions) for block in blocks if len(block))


def test_rows_of_an_earlier_version_are_read_by_their_texts(tmp_path: Path) -> None:
    made = numbered(RECORDS, TableName.RECORDS)
    keys = made.column("content_key_2").to_pylist()
    at = made.schema.get_field_index("content_key_2")
    half = pa.array([None, *keys[1:10], *[None] * 10], pa.string())
    snapshot = written(tmp_path, TableName.RECORDS, made.set_column(at, "content_key_2", half))
    found = every(stored.stored_records(snapshot, sketched=False))
    assert found == by_prompt(map(claimed_from_record, RECORDS))


def test_sketches_are_made_of_the_texts(tmp_path: Path) -> None:
    snapshot = written(tmp_path, TableName.RECORDS, numbered(RECORDS, TableName.RECORDS))
    found = every(stored.stored_records(snapshot, sketched=True))
    assert found == by_prompt(claimed_from_record(each, sketched=True) for each in RECORDS)


def test_rejects_are_read_as_columns(tmp_path: Path) -> None:
    snapshot = written(tmp_path, TableName.REJECTS, numbered(REJECTS, TableName.REJECTS))
    assert every(stored.stored_rejects(snapshot)) == by_prompt(map(claimed_from_reject, REJECTS))


def test_an_id_that_is_none_is_named(tmp_path: Path) -> None:
    made = numbered(REJECTS, TableName.REJECTS)
    wrong = pa.array(["z" * 32] * made.num_rows)
    snapshot = written(tmp_path, TableName.REJECTS, made.set_column(0, made.schema[0], wrong))
    with pytest.raises(ValueError, match="prompt_id"):
        list(stored.stored_rejects(snapshot))
