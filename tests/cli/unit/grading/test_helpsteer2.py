"""Errors, correlations and calibration of scores, on data where they are known."""

from __future__ import annotations

import numpy as np
import pytest

from promptmill.cli.grading.helpsteer2 import helpsteer2_figures, pearson, ranks
from promptmill.cli.grading.tables import helpsteer2_table
from promptmill_schemas import ATTRIBUTES, AttributeScores


def scores(value: float) -> AttributeScores:
    return AttributeScores(**dict.fromkeys(ATTRIBUTES, value))


def truth(*values: float) -> list[tuple[float, ...]]:
    return [(value,) * len(ATTRIBUTES) for value in values]


def test_a_perfect_grader_has_no_error_and_needs_no_calibration() -> None:
    figures = helpsteer2_figures(truth(0, 2, 4), [scores(0), scores(2), scores(4)])
    row = figures["attributes"]["coherence"]
    assert row["mae"] == 0
    assert row["pearson"] == pytest.approx(1)
    assert row["spearman"] == pytest.approx(1)
    assert row["calibration"] == {"slope": pytest.approx(1), "intercept": pytest.approx(0)}


def test_the_calibration_undoes_a_wrong_scale() -> None:
    figures = helpsteer2_figures(truth(0, 1, 2, 4), [scores(-5 + 10 * v) for v in (0, 1, 2, 4)])
    row = figures["attributes"]["helpfulness"]
    assert row["calibration"]["slope"] == pytest.approx(0.1)
    assert row["calibration"]["intercept"] == pytest.approx(0.5)
    assert row["mae"] > 1
    assert row["mae_calibrated"] == pytest.approx(0)


def test_spearman_sees_order_where_pearson_sees_distance() -> None:
    figures = helpsteer2_figures(truth(0, 1, 2, 3), [scores(v) for v in (0, 1, 10, 1000)])
    row = figures["attributes"]["verbosity"]
    assert row["spearman"] == pytest.approx(1)
    assert row["pearson"] < 0.9


def test_refused_answers_are_counted_and_left_out() -> None:
    figures = helpsteer2_figures(truth(1, 3, 4), [scores(1), None, scores(4)])
    assert (figures["rows"], figures["ungraded"]) == (3, 1)
    assert figures["attributes"]["correctness"]["mae"] == 0


def test_a_grader_that_never_varies_has_no_correlation() -> None:
    figures = helpsteer2_figures(truth(1, 3), [scores(2), scores(2)])
    row = figures["attributes"]["complexity"]
    assert (row["pearson"], row["spearman"]) == (None, None)
    assert row["calibration"] == {"slope": 0.0, "intercept": 2.0}
    assert "2.000" in helpsteer2_table(figures)


def test_no_graded_answer_gives_no_figures() -> None:
    figures = helpsteer2_figures(truth(1), [None])
    assert figures["attributes"]["helpfulness"]["mae"] is None
    assert "-" in helpsteer2_table(figures)


def test_equal_values_share_the_mean_of_their_ranks() -> None:
    assert ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1.0, 3.5, 2.0]
    assert pearson(np.array([1.0, 2.0]), np.array([2.0, 1.0])) == pytest.approx(-1)
