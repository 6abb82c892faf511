"""Exports hold the records of one table version, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest

from cli.integration.conftest import Tables
from promptmill.lake.ports import TableName
from support.commands import Promptmill
from support.store import SCORES, record

pytestmark = pytest.mark.real


@pytest.fixture
def filled(tables: Tables) -> Tables:
    """Three records of run ``test``, one of them a pair, and one of run ``other``."""
    pair = {
        "kind": "preference",
        "rejected": "no",
        "rejected_scores": SCORES,
        "rejected_reward": 1.0,
        "margin": 3.0,
    }
    tables.take(
        TableName.RECORDS,
        record("a"),
        record("b"),
        record("c").model_copy(update=pair),
        record("d").model_copy(update={"run": "other"}),
    )
    return tables


def exported(promptmill: Promptmill, out: Path, *arguments: str) -> int:
    """How many rows were written to ``out``."""
    done = promptmill("export", "--out", out, "--json", *arguments)
    assert done.code == 0, done.err
    return int(done.json["rows"])


def test_json_lines_hold_records_with_json_columns_as_text(
    promptmill: Promptmill, filled: Tables, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    assert exported(promptmill, out, "--format", "jsonl", "--run", "test", "--kind", "sft") == 2
    rows = [orjson.loads(line) for line in out.read_bytes().splitlines()]
    assert sorted(row["messages"][0]["content"] for row in rows) == ["a", "b"]
    assert all(row["tags"] == '{"domain":"tests"}' for row in rows)
    assert all(row["sampling"] == "{}" for row in rows)
    assert all(row["scores"]["helpfulness"] == 3.0 for row in rows)
    assert rows[0]["created_at"].startswith("2026-01-02T03:04:05.678901")
    assert "shard" not in rows[0]


def test_parquet_holds_the_same_rows(
    promptmill: Promptmill, filled: Tables, tmp_path: Path
) -> None:
    out = tmp_path / "out.parquet"
    assert exported(promptmill, out, "--format", "parquet") == 4
    table = pq.read_table(out)
    assert sorted(table["run"].to_pylist()) == ["other", "test", "test", "test"]
    assert sorted(m for m in table["margin"].to_pylist() if m is not None) == [3.0]
    assert "shard_offset" not in table.column_names


def test_a_kind_or_run_without_records_is_an_empty_file(
    promptmill: Promptmill, filled: Tables, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    assert exported(promptmill, out, "--run", 'it\'s "nobody"') == 0
    assert out.read_bytes() == b""
    assert exported(promptmill, tmp_path / "out.parquet", "--format", "parquet", "--run", "x") == 0
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 0


def test_an_export_that_fails_leaves_the_old_file(
    promptmill: Promptmill, filled: Tables, tmp_path: Path
) -> None:
    out = tmp_path / "nowhere" / "out.jsonl"
    done = promptmill("export", "--out", out)
    assert done.code == 78
    assert str(out) in done.err
    (tmp_path / "folder.jsonl").mkdir()
    assert promptmill("export", "--out", tmp_path / "folder.jsonl").code == 78
    assert promptmill("export").code == 2
    exported(promptmill, tmp_path / "out.jsonl")
    assert [path.name for path in tmp_path.glob("*out.jsonl*")] == ["out.jsonl"]


def test_a_trainers_format_is_a_folder_with_a_card(
    promptmill: Promptmill, filled: Tables, tmp_path: Path
) -> None:
    out = tmp_path / "sft"
    done = promptmill("export", "--for", "trl-sft", "--out", out, "--run", "test")
    assert done.out.startswith("2 rows from 2 records of table version")
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "data", "manifest.json"]
    rows = [
        orjson.loads(line)
        for line in (out / "data/train-00000-of-00001.jsonl").read_bytes().splitlines()
    ]
    assert all(list(row) == ["messages"] for row in rows)
    again = promptmill("export", "--for", "trl-dpo", "--out", out)
    assert again.code == 78
    assert "--replace" in again.err


def test_sizes_and_formats_are_checked_before_anything_is_written(
    promptmill: Promptmill, filled: Tables, tmp_path: Path
) -> None:
    for size in ("much", "12", "1kB"):
        done = promptmill("export", "--out", tmp_path / "set", "--shard-size", size)
        assert done.code == 78
        assert f"--shard-size {size}" in done.err
    assert promptmill("export", "--out", tmp_path / "set", "--shard-size", "1.5 MiB").code == 0
    assert "trl-dpo" in promptmill("export", "--formats").out
    listed = promptmill("export", "--formats", "--json").json
    assert {"trl-sft", "aligner-dpo"} <= {each["name"] for each in listed}
