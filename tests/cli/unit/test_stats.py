"""``stats`` prints tables for people and one document for programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.commands import Promptmill
from support.stats import OTHER_MODEL, two_runs

pytestmark = pytest.mark.real


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with two runs."""
    two_runs(tmp_path / "store")
    return tmp_path / "store"


def test_the_tables_show_every_part(promptmill: Promptmill, store: Path) -> None:
    done = promptmill("--store", store, "stats", "--price", f"{OTHER_MODEL}=1,2")
    assert done.code == 0, done.err
    titles = ("Runs", "Decisions by kind", "Scores", "Decisions over time", "Duplicates", "Tokens")
    assert all(title in done.out for title in titles)
    assert "\x1b" not in done.out
    assert "\\x1b[31mred" in done.out
    scores = done.out[done.out.index("Scores") : done.out.index("Decisions over time")]
    assert "helpfulness" in scores
    assert "…" not in scores, "the table does not fit 80 columns"


def test_the_document_has_the_same_figures(promptmill: Promptmill, store: Path) -> None:
    found = promptmill("--store", store, "stats", "--json").json
    assert [run["run"] for run in found["runs"]] == ["other", "test"]
    assert found["duplicates"]["exact"] == 1
    assert len(found["scores"]) == 11
    assert found["versions"] == {"dead_letters": 2, "prompts": 2, "records": 2, "rejects": 2}


def test_errors_say_what_to_do(promptmill: Promptmill, store: Path, tmp_path: Path) -> None:
    unknown = promptmill("--store", store, "stats", "--run", "x\x1b")
    assert (unknown.code, unknown.out) == (78, "")
    assert "choose one of other, test" in unknown.err
    assert "\x1b" not in unknown.err
    empty = promptmill("--store", tmp_path / "none", "stats")
    assert empty.code == 78
    assert "promptmill run store" in empty.err
    assert promptmill("--store", store, "stats", "--price", "x").code == 78
