"""The results of the default filter, computed without the pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptmill_demo.tasks import FAMILIES, Task, is_correct
from promptmill_schemas import ATTRIBUTES
from promptmill_schemas.grading import NEMOTRON_WEIGHTS

MIN_HELPFULNESS = 3.0

Table = NDArray[np.float64]


def kept_figures(
    tasks: Sequence[Task], answers: Sequence[Sequence[str]], scores: Table
) -> dict[str, Any]:
    """Return the accuracy of all and of the accepted answers, with the demo's definitions.

    Args:
        tasks: the tasks.
        answers: the answers to each task, the same number for every task.
        scores: an array of tasks × answers × attributes.
    """
    right = np.array(
        [
            [is_correct(each, task.tags) for each in row]
            for task, row in zip(tasks, answers, strict=True)
        ]
    )
    weights = np.array([getattr(NEMOTRON_WEIGHTS, name) for name in ATTRIBUTES])
    passing: NDArray[np.bool_] = scores[:, :, ATTRIBUTES.index("helpfulness")] >= MIN_HELPFULNESS
    rewards = np.where(passing, scores @ weights, -np.inf)
    best: NDArray[np.intp] = rewards.argmax(axis=1)
    accepted: NDArray[np.bool_] = np.asarray(passing.any(axis=1))
    chosen_right = right[np.arange(len(tasks)), best]
    families = np.array([task.kind.family for task in tasks])
    by_family = {}
    for family in FAMILIES:
        own = np.flatnonzero(families == family)
        by_family[family] = _shares(right[own], chosen_right[own], accepted[own])
    return {**_shares(right, chosen_right, accepted), "by_family": by_family}


def _shares(
    right: NDArray[Any], chosen_right: NDArray[Any], accepted: NDArray[Any]
) -> dict[str, float | None]:
    return {
        "accuracy_all": float(right.mean()),
        "accuracy_accepted": float(chosen_right[accepted].mean()) if accepted.any() else None,
        "kept": float(accepted.mean()),
        "kept_of_answers": float(accepted.sum() / right.size),
    }
