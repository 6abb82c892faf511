"""Files in RewardBench's and HelpSteer2's formats, as they are found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from promptmill.cli.grading.rows import read_pairs, read_rated
from promptmill.runtime.errors import Misconfigured
from promptmill_schemas import ATTRIBUTES

PAIR = {"prompt": "Two plus two?", "chosen": "4", "rejected": "5", "subset": "math", "id": 7}
RATED = {"prompt": "Two plus two?", "response": "4", **dict.fromkeys(ATTRIBUTES, 3)}


def written(folder: Path, *rows: dict[str, Any] | str) -> Path:
    """A file with the rows; a text is a line as it is."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path = folder / "rows.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_pair_has_a_conversation_two_answers_and_a_subset(tmp_path: Path) -> None:
    (pair,) = read_pairs(written(tmp_path, PAIR))
    assert [(turn.role, turn.content) for turn in pair.prompt] == [("user", "Two plus two?")]
    assert (pair.chosen, pair.rejected, pair.subset) == ("4", "5", "math")


def test_a_pair_may_be_given_as_messages(tmp_path: Path) -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    row = {
        "prompt": turns,
        "chosen": [{"role": "assistant", "content": "Hello"}],
        "rejected": "Go away",
    }
    (pair,) = read_pairs(written(tmp_path, row))
    assert [turn.role for turn in pair.prompt] == ["system", "user"]
    assert (pair.chosen, pair.subset) == ("Hello", "all")


def test_later_turns_inside_a_helpsteer2_prompt_are_turns(tmp_path: Path) -> None:
    prompt = "Hi\n<extra_id_1>Assistant\nHello!\n\nAll well?\n<extra_id_1>User\nTwo plus two?"
    (row,) = read_rated(written(tmp_path, {**RATED, "prompt": prompt}))
    assert [(turn.role, turn.content) for turn in row.prompt] == [
        ("user", "Hi"),
        ("assistant", "Hello!\n\nAll well?"),
        ("user", "Two plus two?"),
    ]
    assert row.scores == (3, 3, 3, 3, 3)


def test_blank_lines_are_skipped(tmp_path: Path) -> None:
    assert len(read_rated(written(tmp_path, RATED, "", RATED))) == 2


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("{", "line 2"),
        ("[1]", "line 2"),
        ({**RATED, "helpfulness": 5}, "helpfulness"),
        ({**RATED, "verbosity": None}, "verbosity"),
        ({key: value for key, value in RATED.items() if key != "response"}, "response"),
        ({**RATED, "prompt": ""}, "prompt"),
    ],
)
def test_a_wrong_line_is_named_with_its_field(tmp_path: Path, row: Any, words: str) -> None:
    with pytest.raises(Misconfigured, match="line 2") as caught:
        read_rated(written(tmp_path, RATED, row))
    assert words in str(caught.value)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="no lines"):
        read_pairs(written(tmp_path, ""))
