"""Agreement of a grader's scores with those of human annotators, and a linear calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptmill_schemas import ATTRIBUTES, AttributeScores

Column = NDArray[np.float64]


def helpsteer2_figures(
    truth: Sequence[tuple[float, ...]], graded: Sequence[AttributeScores | None]
) -> dict[str, Any]:
    """Return the mean absolute error, correlations and a calibration of each attribute.

    Args:
        truth: the annotators' scores of each row, in the order of the attributes.
        graded: the grader's scores; ``None`` for an answer that it refused.

    Returns:
        The number of rows and of ungraded ones, and ``attributes`` with the figures by name.
    """
    kept = [(t, g) for t, g in zip(truth, graded, strict=True) if g is not None]
    attributes = {}
    for at, name in enumerate(ATTRIBUTES):
        wanted = np.array([row[at] for row, _ in kept], dtype=np.float64)
        given = np.array([getattr(scores, name) for _, scores in kept], dtype=np.float64)
        attributes[name] = _figures(wanted, given)
    return {
        "format": "helpsteer2",
        "rows": len(truth),
        "ungraded": len(truth) - len(kept),
        "attributes": attributes,
    }


def _figures(truth: Column, given: Column) -> dict[str, Any]:
    """Return the figures of one attribute; they are ``None`` if there are no rows."""
    if not len(truth):
        return {"mae": None, "pearson": None, "spearman": None, "calibration": None}
    calibration = fit(given, truth)
    return {
        "mae": float(np.abs(truth - given).mean()),
        "pearson": pearson(truth, given),
        "spearman": pearson(ranks(truth), ranks(given)),
        "calibration": calibration,
        "mae_calibrated": float(
            np.abs(truth - (calibration["slope"] * given + calibration["intercept"])).mean()
        ),
    }


def fit(given: Column, truth: Column) -> dict[str, float]:
    """Return the least-squares line ``slope × score + intercept``."""
    centred = given - given.mean()
    spread = float((centred**2).sum())
    slope = float((centred * (truth - truth.mean())).sum()) / spread if spread else 0.0
    return {"slope": slope, "intercept": float(truth.mean()) - slope * float(given.mean())}


def pearson(one: Column, other: Column) -> float | None:
    """Pearson's correlation; ``None`` if one of the columns is constant."""
    if one.std() == 0 or other.std() == 0:
        return None
    return float(np.corrcoef(one, other)[0, 1])


def ranks(values: Column) -> Column:
    """Return the ranks of the values, from 1; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts).astype(np.float64)
    means: Column = ends - (counts - 1) / 2
    return means[inverse]
