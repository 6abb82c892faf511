"""The data files that are made from tasks are what the program makes today."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from promptmill_demo.tasks import is_correct
from promptmill_demo.tasks.examples import FILES

DATA = Path(__file__).resolve().parents[3] / "data"


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_shipped_file_is_current(name: str) -> None:
    lines = (DATA / name).read_text("utf-8").splitlines()
    assert lines == list(FILES[name]()), "write it anew: scripts/train_demo_models --data-only"


def test_the_demo_has_enough_prompts_with_ground_truth() -> None:
    rows = [json.loads(line) for line in (DATA / "tasks/demo.jsonl").read_text().splitlines()]
    assert len(rows) >= 240
    assert all(is_correct(row["tags"]["answer"], row["tags"]) for row in rows)
