"""``export --follow``: every row once in complete files, also if it is killed at any moment."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from promptmill.export.export import ExportSettings
from promptmill.export.selection import Selection
from promptmill.runtime.errors import Misconfigured
from promptmill.training import sealing
from promptmill.training.following import Following
from promptmill.training.sealing import export_growing
from support.commands import command_line
from support.exports import lines
from support.waiting import PATIENCE_S
from training.integration.growing import PARTITIONS, Growing

pytestmark = pytest.mark.real


@pytest.fixture
def table(tmp_path: Path) -> Growing:
    """Two records in each of eight shards."""
    made = Growing(tmp_path / "store")
    made.grow(2)
    return made


def grown(table: Growing, out: Path, idle_s: float = 0.0, **settings: Any) -> dict[str, Any]:
    """The manifest of an export that ends when nothing more comes."""
    following = Following(follow=True, idle_s=idle_s, settled_run=None)
    return dict(
        export_growing(table.uri, ExportSettings(out, **settings), seal_s=0.1, following=following)
    )


def ids(out: Path) -> list[str]:
    """The ids of the rows in the files that exist, in order; the manifest lists the same files."""
    files = sorted((out / "data").iterdir())
    manifest = orjson.loads((out / "manifest.json").read_bytes())
    listed = [out / f["path"] for split in manifest["splits"].values() for f in split["files"]]
    assert sorted(listed) == files
    return sorted(row["record_id"] for path in files for row in lines(path))


def test_an_export_continues_with_further_files(table: Growing, tmp_path: Path) -> None:
    out = tmp_path / "set"
    grown(table, out)
    first = {path.name: path.read_bytes() for path in (out / "data").iterdir()}
    assert list(first) == ["train-00000.jsonl"]
    table.grow(1)
    manifest = grown(table, out)
    assert ids(out) == table.ids
    assert manifest["splits"]["train"]["rows"] == len(table.ids)
    assert [f["path"] for f in manifest["splits"]["train"]["files"]][1] == "data/train-00001.jsonl"
    assert (out / "data" / "train-00000.jsonl").read_bytes() == first["train-00000.jsonl"]
    assert grown(table, out) == manifest


@pytest.mark.parametrize("step", range(6))
def test_an_export_that_stops_at_any_step_continues_without_doubles(
    table: Growing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    out, calls = tmp_path / "set", 0
    grown(table, out)
    table.grow(2)
    replace, rename = sealing._replace, Path.rename

    def count() -> None:
        nonlocal calls
        calls += 1
        if calls == step + 1:
            raise KeyboardInterrupt

    def counting_replace(path: Path, content: bytes) -> None:
        count()
        replace(path, content)

    def counting_rename(path: Path, target: Path) -> Path:
        count()
        return rename(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(sealing, "_replace", counting_replace)
        patched.setattr(Path, "rename", counting_rename)
        try:
            grown(table, out)
        except KeyboardInterrupt:
            table.grow(1)
    grown(table, out)
    assert ids(out) == table.ids


def sealed(out: Path) -> int:
    """The number of complete files."""
    return len(list((out / "data").glob("*.jsonl")))


def follow(store: str, out: str) -> None:
    """An export that only a signal ends."""
    following = Following(follow=True, idle_s=None, settled_run=None)
    export_growing(store, ExportSettings(Path(out)), seal_s=0.1, following=following)


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_a_killed_export_continues_without_doubles(table: Growing, tmp_path: Path) -> None:
    out = tmp_path / "set"
    for number in range(2):
        process = multiprocessing.get_context("spawn").Process(
            target=follow, args=(table.uri, str(out))
        )
        process.start()

        before = sealed(out)
        while sealed(out) == before:
            assert process.is_alive()
            table.grow(1)
        time.sleep(0.03 * number)  # so that it is killed at different moments
        process.kill()
        process.join(PATIENCE_S)
    grown(table, out)
    assert ids(out) == table.ids


def test_splits_and_formats_are_those_of_an_export(table: Growing, tmp_path: Path) -> None:
    out = tmp_path / "set"
    options: dict[str, Any] = {"trainer": "llama-factory-sft", "validation": 0.3, "form": "jsonl"}
    grown(table, out, **options)
    table.grow(2)
    manifest = grown(table, out, **options)
    assert {name: len(s["files"]) for name, s in manifest["splits"].items()} == {
        "train": 2,
        "validation": 2,
    }
    assert sum(s["rows"] for s in manifest["splits"].values()) == 4 * PARTITIONS
    assert "dataset_info.json" in {path.name for path in out.iterdir()}


def test_other_options_and_folders_are_refused(table: Growing, tmp_path: Path) -> None:
    grown(table, tmp_path / "set")
    with pytest.raises(Misconfigured, match="begun with format 'records', and now it is 'trl-sft'"):
        grown(table, tmp_path / "set", trainer="trl-sft")
    with pytest.raises(Misconfigured, match="the name of one file"):
        grown(table, tmp_path / "set.jsonl")
    with pytest.raises(Misconfigured, match="--version is 1"):
        grown(table, tmp_path / "other", selection=Selection(version=1))
    with pytest.raises(Misconfigured, match="no export with --follow has begun it"):
        grown(table, tmp_path / "store")


def test_the_command_follows_until_nothing_comes(
    table: Growing,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with command_line(monkeypatch, capsys, store=table.uri, home=str(tmp_path / "home")) as run:
        done = run("export", "--out", tmp_path / "set", "--follow", "--idle-seconds", 0)
        assert "16 rows in 1 file of" in done.out, done.err
        refused = run("export", "--out", tmp_path / "set", "--follow", "--until-settled")
        assert "--run" in refused.err
