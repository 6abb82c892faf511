"""The evaluation of a grader on a file of labelled answers."""

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
"""Called with the number of graded answers and the number of all answers."""


def grade_pairs(file: Path, grader: Grader, done: Done) -> dict[str, Any]:
    """Grade a file of pairs, and return RewardBench's figures.

    Raises:
        Misconfigured: a line of the file is invalid.
    """
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
    """Grade a file of rated answers, and return the agreement with their scores.

    Raises:
        Misconfigured: a line of the file is invalid.
    """
    rows = read_rated(file)
    items = [(row.prompt, row.response) for row in rows]
    graded = asyncio.run(grade_all(grader, items, lambda count: done(count, len(items))))
    return helpsteer2_figures([row.scores for row in rows], graded)
