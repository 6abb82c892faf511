"""Exports of real tables: whole or not at all, the same bytes for the same version."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
import yaml  # type: ignore[import-untyped]

from promptmill.export.export import ExportSettings, export
from promptmill.export.formats import FORMATS
from promptmill.export.selection import Selection
from promptmill.export.splits import split_of
from promptmill.runtime.errors import Misconfigured
from support.exports import GOOD, MULTI_TURN, Records, lines, pair, sft

NEED_A_REFERENCE = {"nemo-gym", "verl-rl", "skyrl", "open-instruct-rlvr"}

pytestmark = pytest.mark.real


@pytest.fixture
def table(tmp_path: Path) -> Records:
    """60 records in three commits, 20 of them pairs."""
    made = Records(tmp_path / "store")
    made.add(*(sft(number=n) for n in range(20)))
    made.add(*(pair(MULTI_TURN, number=n) for n in range(20, 40)))
    made.add(*(sft(number=n, run="other", reward=float(n)) for n in range(40, 60)))
    return made


def exported(table: Records, out: Path, **settings: Any) -> dict[str, Any]:
    """The manifest of an export to ``out``."""
    return dict(export(table.uri, ExportSettings(out, **settings)).manifest)


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("form", ["jsonl", "jsonl.gz", "jsonl.zst", "parquet"])
def test_the_same_version_gives_the_same_bytes(table: Records, tmp_path: Path, form: Any) -> None:
    manifest = exported(table, tmp_path / "a" / "set", form=form, trainer="trl-sft")
    version = manifest["table"]["version"]
    table.add(sft(number=100))
    table.compact()
    exported(
        table,
        tmp_path / "b" / "set",
        form=form,
        trainer="trl-sft",
        selection=Selection(version=version),
    )
    assert content(tmp_path / "a" / "set") == content(tmp_path / "b" / "set")
    later = exported(table, tmp_path / "c", form=form, trainer="trl-sft")
    assert later["records"] == 41


@pytest.fixture(autouse=True)
def folders(tmp_path: Path) -> None:
    """Folders for exports of the same name."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()


def test_the_manifest_holds_counts_digests_and_provenance(table: Records, tmp_path: Path) -> None:
    out = tmp_path / "set"
    manifest = exported(table, out, validation=0.3, licence="cc-by-4.0")
    assert orjson.loads((out / "manifest.json").read_bytes()) == manifest
    for split in manifest["splits"].values():
        for file in split["files"]:
            data = (out / file["path"]).read_bytes()
            assert hashlib.sha256(data).hexdigest() == file["sha256"]
            assert len(data) == file["size"]
            assert len(data.splitlines()) == file["rows"]
    assert sum(split["rows"] for split in manifest["splits"].values()) == 60
    assert manifest["kinds"] == {"preference": 20, "sft": 40}
    assert manifest["runs"] == {"other": 20, "test": 40}
    assert manifest["policies"] == {"p-1": 60}
    assert manifest["generators"] == {"none": 60}
    assert manifest["scores"]["helpfulness"]["mean"] == pytest.approx(3.6)
    assert manifest["scores"]["reward"]["max"] == 59.0


def test_the_dataset_card_has_the_metadata_of_the_hub(table: Records, tmp_path: Path) -> None:
    out = tmp_path / "set"
    exported(table, out, validation=0.3, licence="cc-by-4.0", title='A "set": of pairs')
    _, metadata, text = (out / "README.md").read_text().split("---\n", 2)
    fields = yaml.safe_load(metadata)
    assert fields["license"] == "cc-by-4.0"
    assert fields["pretty_name"] == 'A "set": of pairs'
    assert fields["size_categories"] == ["n<1K"]
    data = fields["configs"][0]["data_files"]
    assert [entry["split"] for entry in data] == ["train", "validation"]
    for entry in data:
        assert list(out.glob(entry["path"]))
    assert "| 3.5 to 4 | 60 | 0 | 60 | 0 | 0 |" in text
    assert "The licence is cc-by-4.0." in text


def test_a_prompt_is_in_one_split_whatever_the_export(table: Records, tmp_path: Path) -> None:
    out = tmp_path / "set"
    exported(table, out, validation=0.3)
    for split in ("train", "validation"):
        (path,) = out.glob(f"data/{split}-*")
        found = {row["prompt_id"] for row in lines(path)}
        assert found
        assert {split_of(prompt, 0.3) for prompt in found} == {split}
    smaller = {f"{n:032x}" for n in range(1_000) if split_of(f"{n:032x}", 0.1) == "validation"}
    larger = {f"{n:032x}" for n in range(1_000) if split_of(f"{n:032x}", 0.2) == "validation"}
    assert smaller < larger
    assert 50 < len(smaller) < 150


def test_a_condition_in_sql_chooses_records(table: Records, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    where = "reward > 45 AND scores.helpfulness >= 3.5 AND kind = 'sft' -- good ones"
    manifest = exported(table, out, selection=Selection(where=where), columns=("reward",))
    assert manifest["records"] == 14
    assert [row["reward"] for row in lines(out)] == [float(n) for n in range(46, 60)]
    assert exported(table, out, selection=Selection(where="margin > 3"))["records"] == 20
    assert exported(table, out, selection=Selection(where="true"))["records"] == 60


@pytest.mark.parametrize(
    "where",
    ["nope > 1", "reward >", "1) --", "(SELECT count(*) FROM read_text('/etc/passwd')) > 0"],
)
def test_a_wrong_condition_is_refused_and_leaves_nothing(
    table: Records, tmp_path: Path, where: str
) -> None:
    out = tmp_path / "a" / "out.jsonl"
    with pytest.raises(Misconfigured, match="--where"):
        exported(table, out, selection=Selection(where=where))
    assert list((tmp_path / "a").iterdir()) == []


def test_shards_hold_whole_records_and_are_of_the_given_size(
    table: Records, tmp_path: Path
) -> None:
    table.add(*(pair(MULTI_TURN, number=n) for n in range(1_000, 3_000)))
    out = tmp_path / "set"
    manifest = exported(table, out, trainer="aligner-pairwise", shard_bytes=200_000)
    shards = manifest["splits"]["train"]["files"]
    assert len(shards) > 1
    assert all(file["rows"] % 2 == 0 for file in shards)
    assert next(file["path"] for file in shards) == f"data/train-00000-of-{len(shards):05d}.jsonl"
    for file in shards:
        rows = lines(out / file["path"])
        assert all(GOOD in row["text"] for row in rows[::2])
    parquet = exported(table, tmp_path / "b" / "set", form="parquet", shard_bytes=50_000)
    files = parquet["splits"]["train"]["files"]
    assert len(files) > 1
    assert sum(pq.read_metadata(tmp_path / "b" / "set" / f["path"]).num_rows for f in files) == 2060


def test_columns_choose_from_our_rows_and_add_to_a_trainers(table: Records, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    exported(table, out, columns=("record_id", "reward"))
    assert all(list(row) == ["record_id", "reward"] for row in lines(out))
    exported(table, out, trainer="trl-sft", columns=("record_id", "scores"))
    assert all(list(row) == ["messages", "record_id", "scores"] for row in lines(out))
    with pytest.raises(Misconfigured, match="no such column"):
        exported(table, out, columns=("nope",))
    with pytest.raises(Misconfigured, match="columns of this name"):
        exported(table, out, trainer="trl-sft", columns=("messages",))


@pytest.mark.parametrize("form", FORMATS.values(), ids=lambda form: form.name)
def test_every_format_is_written_from_a_table(table: Records, tmp_path: Path, form: Any) -> None:
    manifest = exported(table, tmp_path / "set", trainer=form.name, form=form.files[-1])
    rows = sum(split["rows"] for split in manifest["splits"].values())
    assert rows >= manifest["records"] - manifest["records_without_rows"]
    assert rows or form.name in NEED_A_REFERENCE


def test_contradictions_are_named(table: Records, tmp_path: Path) -> None:
    folder, file = tmp_path / "set", tmp_path / "out.parquet"
    wrong: list[tuple[Path, dict[str, Any], str]] = [
        (folder, {"trainer": "nope"}, "--for nope"),
        (file, {"form": "jsonl"}, "contradicts"),
        (file, {"validation": 0.1}, "--validation"),
        (file, {"trainer": "aligner-dpo"}, "does not read it"),
        (file, {"trainer": "llama-factory-sft"}, "companion files"),
        (folder, {"trainer": "trl-dpo", "selection": Selection(kinds=("sft",))}, "--kind sft"),
        (folder, {"selection": Selection(version=10_000)}, "no version 10000"),
        (tmp_path / "nowhere" / "set", {}, "no folder"),
    ]
    for out, settings, text in wrong:
        with pytest.raises(Misconfigured, match=text):
            exported(table, out, **settings)
        assert not out.exists()


def test_only_an_earlier_export_is_replaced(table: Records, tmp_path: Path) -> None:
    out = tmp_path / "set"
    exported(table, out, trainer="trl-sft")
    before = content(out)
    with pytest.raises(Misconfigured, match="--replace"):
        exported(table, out, trainer="trl-dpo")
    assert content(out) == before
    exported(table, out, trainer="trl-dpo", replace=True)
    assert orjson.loads((out / "manifest.json").read_bytes())["format"] == "trl-dpo"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(Misconfigured, match="not an earlier export"):
        exported(table, tmp_path / "mine", replace=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "mine", "set", "store"]
