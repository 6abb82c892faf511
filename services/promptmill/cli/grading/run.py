"""The evaluation of a grader on a file of labelled answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from promptmill.cli.grading.grader import Graded, Grader, grade_all
from promptmill.cli.grading.helpsteer2 import helpsteer2_figures
from promptmill.cli.grading.labelled import SHOWN_ROWS, BadRow, Labelled
from promptmill.cli.grading.rewardbench import Judged, rewardbench_figures

Done = Callable[[int, int], None]
"""Called with the number of graded answers and the number of all answers."""

SOME_ROWS_FAILED = 3
"""Exit code: some rows could not be read or graded, the others were."""


def evaluate(rows: Labelled, grader: Grader, done: Done) -> dict[str, Any]:
    """Grade the rows of a file, and return the figures of its format.

    Returns:
        The figures, with ``bad_rows`` (rows that could not be read), ``no_preference`` (pairs that
        were left out because they have none) and ``failures`` (number and error of the first bad
        and ungraded rows).
    """
    figures, refused = (grade_pairs if rows.pairs else grade_rated)(rows, grader, done)
    failures = sorted([*rows.bad, *refused], key=lambda row: row.number)
    return figures | {
        "format": rows.form.value,
        "bad_rows": len(rows.bad),
        "no_preference": rows.ties,
        "failures": [{"row": row.number, "error": row.error} for row in failures[:SHOWN_ROWS]],
    }


def exit_code_of(figures: dict[str, Any]) -> int:
    """0 if every row was read and graded."""
    return SOME_ROWS_FAILED if figures["bad_rows"] or figures["ungraded"] else 0


def grade_pairs(rows: Labelled, grader: Grader, done: Done) -> tuple[dict[str, Any], list[BadRow]]:
    """RewardBench's figures of the pairs, and the rows with an ungraded answer."""
    items = [(pair.prompt, answer) for _, pair in rows.pairs for answer in pair.answers]
    graded = iter(asyncio.run(grade_all(grader, items, lambda count: done(count, len(items)))))
    judged, refused = [], []
    for number, pair in rows.pairs:
        grades = [next(graded) for _ in pair.answers]
        refused += _refused(number, grades)
        rewards = tuple(
            None if isinstance(each, str) else each.weighted(grader.weights) for each in grades
        )
        split = len(pair.chosen)
        judged.append(Judged(pair.subset, rewards[:split], rewards[split:]))
    return rewardbench_figures(judged), refused


def grade_rated(rows: Labelled, grader: Grader, done: Done) -> tuple[dict[str, Any], list[BadRow]]:
    """The agreement with the annotators' scores, and the ungraded rows."""
    items = [(row.prompt, row.response) for _, row in rows.rated]
    graded = asyncio.run(grade_all(grader, items, lambda count: done(count, len(items))))
    refused = []
    for (number, _), grade in zip(rows.rated, graded, strict=True):
        refused += _refused(number, [grade])
    scores = [None if isinstance(each, str) else each for each in graded]
    return helpsteer2_figures([row.scores for _, row in rows.rated], scores), refused


def _refused(number: int, grades: Sequence[Graded]) -> list[BadRow]:
    """The row as a failure if one of its answers was not graded."""
    reasons = [grade for grade in grades if isinstance(grade, str)]
    return [BadRow(number, f"not graded: {reasons[0]}")] if reasons else []
