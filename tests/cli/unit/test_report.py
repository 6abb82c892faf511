"""``report`` writes a whole page, or nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.commands import Promptmill
from support.stats import two_runs

pytestmark = pytest.mark.real


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with two runs."""
    two_runs(tmp_path / "store")
    return tmp_path / "store"


def test_the_page_replaces_an_earlier_one(
    promptmill: Promptmill, store: Path, tmp_path: Path
) -> None:
    pytest.importorskip("vl_convert", reason="./scripts/setup installs it")
    out = tmp_path / "report.html"
    out.write_text("old")
    done = promptmill("--store", store, "report", "--run", "test", "--out", out, "--json")
    assert done.code == 0, done.err
    assert done.json == {"out": str(out), "size": out.stat().st_size, "records": 10}
    assert "<title>promptmill report of run test</title>" in out.read_text()
    assert [path.name for path in tmp_path.glob("*report.html*")] == ["report.html"]


def test_errors_leave_no_file(promptmill: Promptmill, store: Path, tmp_path: Path) -> None:
    pytest.importorskip("vl_convert", reason="./scripts/setup installs it")
    out = tmp_path / "none" / "report.html"
    done = promptmill("--store", store, "report", "--out", out)
    assert done.code == 78
    assert str(out) in done.err
    empty = promptmill("--store", tmp_path / "empty", "report", "--out", tmp_path / "x.html")
    assert empty.code == 78
    assert not (tmp_path / "x.html").exists()
    assert promptmill("--store", store, "report").code == 2


def test_without_the_library_the_error_names_the_extra(
    promptmill: Promptmill, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    done = promptmill("--store", store, "report", "--out", tmp_path / "x.html")
    assert done.code == 78
    assert "promptmill[report]" in done.err
