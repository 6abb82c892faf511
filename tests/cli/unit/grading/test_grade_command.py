"""``promptmill grade`` from its command line, with an engine that needs no model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from promptmill_schemas import ATTRIBUTES
from support.commands import Promptmill, command_line

DATA = Path(__file__).resolve().parents[4] / "data" / "examples"


@pytest.fixture
def promptmill(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Promptmill]:
    with command_line(monkeypatch, capsys, home=str(tmp_path / "home")) as run:
        yield run


def test_pairs_give_one_json_document(promptmill: Promptmill) -> None:
    file = DATA / "rewardbench.jsonl"
    done = promptmill("grade", file, "--format", "rewardbench", "--engine", "scripted", "--json")
    assert done.code == 0, done.err
    assert done.json["pairs"] == 120
    assert 0 <= done.json["score"] <= 1


def test_rows_give_a_table_of_the_five_attributes(promptmill: Promptmill) -> None:
    file = DATA / "helpsteer2.jsonl"
    done = promptmill("grade", file, "--format", "helpsteer2", "--engine", "scripted")
    assert done.code == 0, done.err
    assert all(name in done.out for name in ATTRIBUTES)


def test_flags_of_a_reward_worker_reach_it(promptmill: Promptmill) -> None:
    file = DATA / "helpsteer2.jsonl"
    given = ("grade", file, "--format", "helpsteer2", "--engine", "scripted", "--json")
    plain = promptmill(*given).json["attributes"]["coherence"]
    moved = promptmill(*given, "--", "--calibration.coherence=0,9").json["attributes"]["coherence"]
    assert moved["pearson"] is None
    assert moved["mae"] > plain["mae"]


def test_a_file_without_a_good_row_is_one_clear_error(
    promptmill: Promptmill, tmp_path: Path
) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text('{"prompt": "Hi"}\n')
    done = promptmill("grade", file, "--format", "rewardbench", "--engine", "scripted")
    assert done.code == 78
    assert "row 1" in done.err


def test_a_bad_row_is_reported_with_its_number_and_the_others_are_graded(
    promptmill: Promptmill, tmp_path: Path
) -> None:
    good = '{"prompt": "2 + 2?", "chosen": ["4"], "rejected": ["5", "6"], "subset": "Math"}'
    file = tmp_path / "pairs.jsonl"
    file.write_text(f'\ufeff{good}\r\n{{"prompt": "Hi"}}\r\n{good}\r\n', encoding="utf-8")
    done = promptmill("grade", file, "--engine", "scripted", "--json")
    assert done.code == 3
    assert "row 2: chosen is missing" in done.err
    assert (done.json["pairs"], done.json["bad_rows"]) == (2, 1)
    assert [failure["row"] for failure in done.json["failures"]] == [2]


def test_answers_that_are_not_graded_show_in_the_exit_code(
    promptmill: Promptmill, tmp_path: Path
) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text('{"prompt": "2 + 2?", "chosen": "4", "rejected": "5"}\n')
    done = promptmill("grade", file, "--engine", "scripted", "--model", "poison=1")
    assert done.code == 3
    assert "row 1: not graded" in done.err
    assert "1 ungraded" in done.out


def test_a_host_that_only_computes_is_refused(promptmill: Promptmill) -> None:
    file = DATA / "rewardbench.jsonl"
    hosts = ("--nnodes=2", "--node-rank=1", "--master-addr=127.0.0.1")
    done = promptmill("grade", file, "--format", "rewardbench", "--model", "none", "--", *hosts)
    assert done.code == 78
    assert "node_rank is 1" in done.err
    assert "promptmill run reward" in done.err
