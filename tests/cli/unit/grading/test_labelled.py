"""Files of labelled answers: byte order marks, line ends, arrays, and rows that are bad."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from promptmill.cli.grading.formats import LabelledFormat
from promptmill.cli.grading.labelled import read_labelled
from promptmill.runtime.errors import Misconfigured
from promptmill_schemas import ATTRIBUTES

PAIR = {"prompt": "Two plus two?", "chosen": "4", "rejected": "5", "subset": "math"}
RATED = {"prompt": "Two plus two?", "response": "4", **dict.fromkeys(ATTRIBUTES, 3)}


def written(folder: Path, *rows: dict[str, Any] | str, end: str = "\n", start: str = "") -> str:
    """A file with the rows; a text is a line as it is."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path = folder / "rows.jsonl"
    path.write_bytes((start + end.join(lines) + end).encode())
    return str(path)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_byte_order_marks_line_ends_and_blank_lines_do_no_harm(
    tmp_path: Path, start: str, end: str
) -> None:
    found = read_labelled(written(tmp_path, RATED, "", RATED, end=end, start=start))
    assert [place.number for place, _ in found.rated] == [1, 3]
    assert found.form is LabelledFormat.HELPSTEER2
    assert found.bad == []


def test_a_json_array_is_a_file_of_its_items(tmp_path: Path) -> None:
    found = read_labelled(written(tmp_path, json.dumps([PAIR, 7, PAIR], indent=2)))
    assert [place.number for place, _ in found.pairs] == [1, 3]
    assert [row.place.number for row in found.bad] == [2]


@pytest.mark.parametrize(
    ("row", "form"),
    [
        (PAIR, LabelledFormat.REWARDBENCH),
        ({**PAIR, "num_correct": 1}, LabelledFormat.REWARDBENCH2),
        ({**PAIR, "score_chosen": 4, "score_rejected": 2}, LabelledFormat.ULTRAFEEDBACK),
        (RATED, LabelledFormat.HELPSTEER2),
    ],
)
def test_the_columns_show_the_format(
    tmp_path: Path, row: dict[str, Any], form: LabelledFormat
) -> None:
    assert read_labelled(written(tmp_path, '{"prompt"}', row)).form is form


@pytest.mark.parametrize("row", ["{", "[1]", "null", {**PAIR, "chosen": None}, '{"prompt": "a"}'])
def test_a_bad_row_is_kept_with_its_number_and_the_reading_goes_on(
    tmp_path: Path, row: Any
) -> None:
    found = read_labelled(written(tmp_path, PAIR, row, PAIR), LabelledFormat.REWARDBENCH)
    assert [place.number for place, _ in found.pairs] == [1, 3]
    assert [bad.place.number for bad in found.bad] == [2]
    assert found.bad[0].error


def test_rows_of_a_format_that_was_not_named_are_bad(tmp_path: Path) -> None:
    found = read_labelled(written(tmp_path, PAIR, RATED), LabelledFormat.REWARDBENCH)
    assert [bad.place.number for bad in found.bad] == [2]


def test_pairs_without_a_preference_are_counted(tmp_path: Path) -> None:
    found = read_labelled(written(tmp_path, PAIR, {**PAIR, "rejected": "4"}))
    assert (len(found.pairs), found.ties, found.bad) == (1, 1, [])


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([""], "no rows"),
        (["[]"], "no rows"),
        ([{"question": "Hi"}], "no row with the columns"),
        ([{**PAIR, "chosen": 7}], "row 1: chosen is 7"),
        ([{**PAIR, "rejected": "4"}], "has a preference"),
    ],
)
def test_a_file_without_a_good_row_is_refused(tmp_path: Path, rows: list[Any], words: str) -> None:
    with pytest.raises(Misconfigured, match=words):
        read_labelled(written(tmp_path, *rows))


def test_compressed_files_csv_and_folders_are_read_as_publish_reads_them(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(json.dumps(PAIR).encode()))
    (tmp_path / "b.csv").write_text('prompt,chosen,rejected\n"Hi, you",Hello,Go\n,x,y\n')
    found = read_labelled(str(tmp_path))
    assert [place for place, _ in found.pairs] == [("a.jsonl.gz", 1), ("b.csv", 2)]
    assert [str(bad.place) for bad in found.bad] == ["b.csv row 3"]


def test_the_rows_before_a_cut_are_taken(tmp_path: Path) -> None:
    found = read_labelled(written(tmp_path, json.dumps([PAIR, PAIR], indent=1)[:-20]))
    assert len(found.pairs) == 1
    assert "truncated" in found.bad[0].error
    assert found.bad[0].place.number == 2


def test_numbers_of_a_csv_file_are_numbers(tmp_path: Path) -> None:
    header = ",".join(["prompt", "response", *ATTRIBUTES])
    (tmp_path / "rated.csv").write_text(f"{header}\nHi,Hello,4,3,2,1,0\n")
    ((_, row),) = read_labelled(str(tmp_path / "rated.csv")).rated
    assert row.scores == (4, 3, 2, 1, 0)


def test_utf_16_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(PAIR), encoding="utf-16")
    with pytest.raises(Misconfigured, match="UTF-16"):
        read_labelled(str(path))
