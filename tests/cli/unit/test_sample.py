"""``sample`` shows rows that the seed chooses, safely and as wide as the terminal is."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from support.commands import Promptmill
from support.exports import Records, sft
from support.stats import two_runs

pytestmark = pytest.mark.real


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with two runs."""
    two_runs(tmp_path / "store")
    return tmp_path / "store"


def test_a_pair_stands_side_by_side_if_it_fits(
    promptmill: Promptmill, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for width, beside in ((100, True), (50, False)):
        monkeypatch.setenv("COLUMNS", str(width))
        done = promptmill("--store", store, "sample", "--kind", "preference", "-n", 1)
        assert done.code == 0, done.err
        assert "1 of 1  preference  run other" in done.out
        assert any("chosen" in line and "rejected" in line for line in done.out.splitlines()) is (
            beside
        )
        assert max(map(len, done.out.splitlines())) <= width


def test_rejects_show_why_and_escape_what_a_terminal_would_run(
    promptmill: Promptmill, store: Path
) -> None:
    done = promptmill("--store", store, "sample", "--kind", "rejects", "--run", "test")
    assert "4 of 4" in done.out
    assert "answer 0 failed duplicate_near" in done.out
    assert "\\x1b[31mred" in done.out
    assert "\x1b" not in done.out


def test_the_seed_decides_also_after_compaction(promptmill: Promptmill, tmp_path: Path) -> None:
    table = Records(tmp_path / "store")
    for number in range(0, 60, 20):
        table.add(*(sft(number=n) for n in range(number, number + 20)))

    def ids(*arguments: object) -> list[str]:
        done = promptmill("--store", table.uri, "sample", "--json", *arguments)
        return [row["record_id"] for row in done.json_lines]

    before = ids()
    assert len(set(before)) == 10
    table.compact()
    assert ids() == before
    assert ids("-n", 3) == before[:3]
    assert ids("--seed", 1) != before


def test_conditions_and_kinds_select(promptmill: Promptmill, store: Path) -> None:
    done = promptmill("--store", store, "sample", "--where", "reward > 7", "--json")
    assert sorted(row["reward"] for row in done.json_lines) == [8.0, 9.0]
    near = ("--kind", "rejects", "--where", "reason = 'duplicate_near'", "--json")
    assert len(promptmill("--store", store, "sample", *near).json_lines) == 2
    none = promptmill("--store", store, "sample", "--kind", "sft", "--run", "other")
    assert (none.code, none.out, none.err) == (0, "", "no sft match\n")


def test_long_texts_are_cut_unless_all_is_wanted(promptmill: Promptmill, tmp_path: Path) -> None:
    table = Records(tmp_path / "store")
    table.add(sft(chosen="long " * 400))
    cut = promptmill("--store", table.uri, "sample").out
    assert "800 more characters" in cut
    whole = promptmill("--store", table.uri, "sample", "--full").out
    assert whole.count("long") == 400


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--run", "nothing"), "choose one of other, test"),
        (("--where", "no_such > 1"), "is not a condition on a row"),
    ],
)
def test_errors_say_what_to_do(
    promptmill: Promptmill, store: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = promptmill("--store", store, "sample", *arguments)
    assert (done.code, done.out) == (78, "")
    assert said in done.err


def test_an_empty_store_is_an_error(promptmill: Promptmill, tmp_path: Path) -> None:
    done = promptmill("--store", tmp_path, "sample", "--kind", "rejects")
    assert done.code == 78
    assert "no table of rejects yet" in done.err


def test_on_a_terminal_enter_shows_the_next_row_and_q_ends(store: Path) -> None:
    ours, theirs = pty.openpty()
    program = [sys.executable, "-m", "promptmill.cli", "--store", str(store), "sample"]
    with subprocess.Popen(program, stdin=theirs, stdout=theirs, stderr=theirs) as child:
        os.close(theirs)
        os.write(ours, b"\nq\n")
        said = b""
        try:
            while part := os.read(ours, 65_536):
                said += part
        except OSError:  # Linux reports the end of a terminal as an error
            pass
        finally:
            os.close(ours)
    assert child.returncode == 0, said
    assert b"2 of 10" in said
    assert b"3 of 10" not in said
