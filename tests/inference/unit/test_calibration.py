"""Raw scores onto the usual scale, and the settings that say how."""

from __future__ import annotations

import pytest

from promptmill.inference.scores import Calibration, from_range
from promptmill.reward.settings import RewardSettings
from promptmill.runtime.errors import Misconfigured, Poison
from promptmill.stream.stage_settings import parse_settings
from promptmill_schemas import AttributeScores

SCORES = AttributeScores(
    helpfulness=-10.0, correctness=0.0, coherence=10.0, complexity=1.0, verbosity=2.0
)


def test_no_calibration_leaves_scores_as_they_are() -> None:
    assert Calibration().apply(SCORES) == SCORES


def test_each_attribute_has_its_own_line() -> None:
    scores = Calibration({"complexity": (2.0, -0.5)}).apply(SCORES)
    assert (scores.complexity, scores.verbosity) == (1.5, 2.0)


def test_a_range_is_spread_over_the_usual_scale() -> None:
    scores = from_range(-10, 10).apply(SCORES)
    assert (scores.helpfulness, scores.correctness, scores.coherence) == (0.0, 2.0, 4.0)


@pytest.mark.parametrize("ends", [(1.0, 1.0), (2.0, 1.0), (0.0, float("inf"))])
def test_a_range_without_an_extent_is_refused(ends: tuple[float, float]) -> None:
    with pytest.raises(Misconfigured, match="score_range"):
        from_range(*ends)


def test_lines_of_unknown_attributes_or_numbers_are_refused() -> None:
    with pytest.raises(Misconfigured, match="tone"):
        Calibration({"tone": (1.0, 0.0)})
    with pytest.raises(Misconfigured, match="verbosity"):
        Calibration({"verbosity": (float("nan"), 0.0)})


def test_a_score_that_overflows_never_passes() -> None:
    with pytest.raises(Poison, match="calibration"):
        Calibration({"coherence": (1e308, 0.0)}).apply(SCORES)


def test_a_line_of_its_own_wins_over_the_range() -> None:
    flags = ["--score-range=-10,10", "--calibration.verbosity=-1.5,0.2"]
    lines = parse_settings(RewardSettings, flags, "").calibrated().lines
    assert lines["verbosity"] == (-1.5, 0.2)
    assert lines["helpfulness"] == (0.2, 2.0)
