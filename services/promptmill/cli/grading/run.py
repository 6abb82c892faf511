"""The evaluation of a grader on a file of labelled answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from promptmill.cli.grading.grader import Grader, Item, grade_all
from promptmill.cli.grading.helpsteer2 import helpsteer2_figures
from promptmill.cli.grading.labelled import SHOWN_ROWS, BadRow, Labelled, Place
from promptmill.cli.grading.rewardbench import Judged, rewardbench_figures
from promptmill.reward.panel import PanelVerdict, Refusal
from promptmill.runtime.errors import Misconfigured

Done = Callable[[int, int], None]
"""A function that receives the number of graded answers and the number of all answers."""

SOME_ROWS_FAILED = 3
"""The exit code when some rows could not be read or graded, and the others were."""


def evaluate(rows: Labelled, grader: Grader, done: Done) -> dict[str, Any]:
    """Grade the rows of a file, and return the figures of its format.

    Returns:
        The figures, with ``bad_rows`` (rows that could not be read), ``no_preference`` (pairs that
        were left out because they have none) and ``failures`` (number and error of the first bad
        and ungraded rows).
    """
    figures, refused = (grade_pairs if rows.pairs else grade_rated)(rows, grader, done)
    failures = sorted(
        [*rows.bad, *refused], key=lambda row: (row.place.file or "", row.place.number)
    )
    return figures | {
        "format": rows.form.value,
        "bad_rows": len(rows.bad),
        "no_preference": rows.ties,
        "failures": [_shown(row) for row in failures[:SHOWN_ROWS]],
    }


def _shown(row: BadRow) -> dict[str, Any]:
    file = {} if row.place.file is None else {"file": row.place.file}
    return {**file, "row": row.place.number, "error": row.error}


def exit_code_of(figures: dict[str, Any]) -> int:
    """Return 0 if every row was read and graded, and :data:`SOME_ROWS_FAILED` otherwise."""
    return SOME_ROWS_FAILED if figures["bad_rows"] or figures["ungraded"] else 0


def grade_pairs(rows: Labelled, grader: Grader, done: Done) -> tuple[dict[str, Any], list[BadRow]]:
    """Return RewardBench's figures for the pairs, and the rows with an ungraded answer."""
    items = [(pair.prompt, pair.answers) for _, pair in rows.pairs]
    judged, refused = [], []
    for (place, pair), verdicts in zip(rows.pairs, _graded(grader, items, done), strict=True):
        refused += _refused(place, verdicts)
        rewards = tuple(
            None if isinstance(each, Refusal) else each.scores.weighted(grader.weights)
            for each in verdicts
        )
        split = len(pair.chosen)
        judged.append(Judged(pair.subset, rewards[:split], rewards[split:]))
    return rewardbench_figures(judged), refused


def grade_rated(rows: Labelled, grader: Grader, done: Done) -> tuple[dict[str, Any], list[BadRow]]:
    """Return the agreement with the annotators' scores, and the ungraded rows.

    Raises:
        Misconfigured: the grader compares answers, but a row has only one.
    """
    if grader.compares:
        raise Misconfigured(
            f"the file has rated answers ({rows.form}), and the grader compares two answers: give "
            "a file of pairs, or another --grader"
        )
    graded = _graded(grader, [(row.prompt, (row.response,)) for _, row in rows.rated], done)
    refused = []
    for (place, _), verdicts in zip(rows.rated, graded, strict=True):
        refused += _refused(place, verdicts)
    scores = [None if isinstance(one, Refusal) else one.scores for (one,) in graded]
    return helpsteer2_figures([row.scores for _, row in rows.rated], scores), refused


def _graded(
    grader: Grader, items: Sequence[Item], done: Done
) -> list[list[PanelVerdict | Refusal]]:
    total = sum(len(texts) for _, texts in items)
    return asyncio.run(grade_all(grader, items, lambda count: done(count, total)))


def _refused(place: Place, verdicts: Sequence[PanelVerdict | Refusal]) -> list[BadRow]:
    """Report the row as failed if one of its answers was not graded."""
    reasons = [one.reason for one in verdicts if isinstance(one, Refusal)]
    return [BadRow(place, f"not graded: {reasons[0]}")] if reasons else []
