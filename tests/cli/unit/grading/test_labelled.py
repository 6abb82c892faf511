"""Files of labelled answers: byte order marks, line ends, arrays, and rows that are bad."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from promptmill.cli.grading.formats import Format
from promptmill.cli.grading.labelled import read_labelled
from promptmill.runtime.errors import Misconfigured
from promptmill_schemas import ATTRIBUTES

PAIR = {"prompt": "Two plus two?", "chosen": "4", "rejected": "5", "subset": "math"}
RATED = {"prompt": "Two plus two?", "response": "4", **dict.fromkeys(ATTRIBUTES, 3)}


def written(folder: Path, *rows: dict[str, Any] | str, end: str = "\n", start: str = "") -> Path:
    """A file with the rows; a text is a line as it is."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path = folder / "rows.jsonl"
    path.write_bytes((start + end.join(lines) + end).encode())
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_byte_order_marks_line_ends_and_blank_lines_do_no_harm(
    tmp_path: Path, start: str, end: str
) -> None:
    found = read_labelled(written(tmp_path, RATED, "", RATED, end=end, start=start))
    assert [number for number, _ in found.rated] == [1, 3]
    assert found.form is Format.HELPSTEER2
    assert found.bad == []


def test_a_json_array_is_a_file_of_its_items(tmp_path: Path) -> None:
    found = read_labelled(written(tmp_path, json.dumps([PAIR, 7, PAIR], indent=2)))
    assert [number for number, _ in found.pairs] == [1, 3]
    assert [row.number for row in found.bad] == [2]


@pytest.mark.parametrize(
    ("row", "form"),
    [
        (PAIR, Format.REWARDBENCH),
        ({**PAIR, "num_correct": 1}, Format.REWARDBENCH2),
        ({**PAIR, "score_chosen": 4, "score_rejected": 2}, Format.ULTRAFEEDBACK),
        (RATED, Format.HELPSTEER2),
    ],
)
def test_the_columns_show_the_format(tmp_path: Path, row: dict[str, Any], form: Format) -> None:
    assert read_labelled(written(tmp_path, "{", row)).form is form


@pytest.mark.parametrize("row", ["{", "[1]", "null", {**PAIR, "chosen": None}, '{"prompt": "a"}'])
def test_a_bad_row_is_kept_with_its_number_and_the_reading_goes_on(
    tmp_path: Path, row: Any
) -> None:
    found = read_labelled(written(tmp_path, PAIR, row, PAIR), Format.REWARDBENCH)
    assert [number for number, _ in found.pairs] == [1, 3]
    assert [bad.number for bad in found.bad] == [2]
    assert found.bad[0].error


def test_rows_of_a_format_that_was_not_named_are_bad(tmp_path: Path) -> None:
    found = read_labelled(written(tmp_path, PAIR, RATED), Format.REWARDBENCH)
    assert [bad.number for bad in found.bad] == [2]


def test_pairs_without_a_preference_are_counted(tmp_path: Path) -> None:
    found = read_labelled(written(tmp_path, PAIR, {**PAIR, "rejected": "4"}))
    assert (len(found.pairs), found.ties, found.bad) == (1, 1, [])


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([""], "no lines"),
        (["[]"], "no row with the columns"),
        ([{"question": "Hi"}], "no row with the columns"),
        ([{**PAIR, "chosen": 7}], "line 1: chosen is 7"),
        ([{**PAIR, "rejected": "4"}], "has a preference"),
    ],
)
def test_a_file_without_a_good_row_is_refused(tmp_path: Path, rows: list[Any], words: str) -> None:
    with pytest.raises(Misconfigured, match=words):
        read_labelled(written(tmp_path, *rows))


def test_utf_16_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(PAIR), encoding="utf-16")
    with pytest.raises(Misconfigured, match="UTF-16"):
        read_labelled(path)
