"""From a file to a grader's figures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from promptmill.cli.grading.grader import Grader, grade_all
from promptmill.cli.grading.helpsteer2 import helpsteer2_figures
from promptmill.cli.grading.rewardbench import Judged, rewardbench_figures
from promptmill.cli.grading.rows import read_pairs, read_rated

Done = Callable[[int, int], None]
"""Told how many answers are graded, and how many there are."""


def grade_pairs(file: Path, grader: Grader, done: Done) -> dict[str, Any]:
    """RewardBench's figures of the grader; a reward is the sum of score × weight."""
    pairs = read_pairs(file)
    items = [(p.prompt, answer) for p in pairs for answer in (p.chosen, p.rejected)]
    scores = asyncio.run(grade_all(grader, items, lambda count: done(count, len(items))))
    rewards = [None if each is None else each.weighted(grader.weights) for each in scores]
    return rewardbench_figures(
        [
            Judged(pair.subset, chosen, rejected)
            for pair, chosen, rejected in zip(pairs, rewards[::2], rewards[1::2], strict=True)
        ]
    )


def grade_rated(file: Path, grader: Grader, done: Done) -> dict[str, Any]:
    """How near the grader's scores are to those of the rows."""
    rows = read_rated(file)
    items = [(row.prompt, row.response) for row in rows]
    graded = asyncio.run(grade_all(grader, items, lambda count: done(count, len(items))))
    return helpsteer2_figures([row.scores for row in rows], graded)
