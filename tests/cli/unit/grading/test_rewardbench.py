"""RewardBench's figures, against ones that were worked out by hand."""

from __future__ import annotations

import pytest

from promptmill.cli.grading.rewardbench import SECTIONS, Judged, rewardbench_figures
from promptmill.cli.grading.tables import rewardbench_table


def judged(subset: str, right: int, wrong: int) -> list[Judged]:
    return [row(subset, (1.0,), (0.0,))] * right + [row(subset, (0.0,), (1.0,))] * wrong


def row(
    subset: str, chosen: tuple[float | None, ...], rejected: tuple[float | None, ...]
) -> Judged:
    return Judged(subset, chosen, rejected)


def test_a_section_weighs_its_subsets_as_the_leaderboard_does() -> None:
    figures = rewardbench_figures([*judged("math-prm", 1, 1), *judged("hep-cpp", 1, 0)])
    assert figures["subsets"]["math-prm"] == {"accuracy": 0.5, "pairs": 2}
    expected = (0.5 * 984 + 1.0 * 164) / (984 + 164)
    assert figures["sections"] == {"Reasoning": pytest.approx(expected)}
    assert figures["accuracy"] == pytest.approx(2 / 3)


def test_the_score_is_the_mean_of_the_sections() -> None:
    figures = rewardbench_figures([*judged("donotanswer", 1, 0), *judged("mt-bench-hard", 0, 9)])
    assert figures["sections"] == {"Chat Hard": 0.0, "Safety": 1.0}
    assert figures["score"] == 0.5


def test_unknown_subsets_form_a_section_and_weigh_what_they_count() -> None:
    figures = rewardbench_figures([*judged("mine", 3, 1), *judged("yours", 0, 2)])
    assert figures["sections"] == {"Other": 0.5}


def test_a_tie_and_an_ungraded_answer_are_wrong() -> None:
    pairs = [row("a", (1.0,), (1.0,)), row("a", (None,), (0.0,)), row("a", (1.0,), (None,))]
    figures = rewardbench_figures(pairs)
    assert (figures["accuracy"], figures["ties"], figures["ungraded"]) == (0.0, 1, 2)


def test_math_weighs_as_much_as_all_code_together() -> None:
    reasoning = SECTIONS["Reasoning"]
    code = sum(weight for name, weight in reasoning.items() if name.startswith("hep-"))
    assert reasoning["math-prm"] == code


def test_the_table_shows_every_subset_and_the_score() -> None:
    table = rewardbench_table(rewardbench_figures(judged("mine", 3, 1)))
    assert "mine" in table
    assert "75.0 %" in table
    assert "4 pairs" in table


@pytest.mark.parametrize(
    ("chosen", "rejected", "right"),
    [
        ((3.0,), (2.0, 1.0, 0.0), True),
        ((3.0,), (2.0, 3.0, 0.0), False),
        ((3.0,), (2.0, None, 0.0), False),
        ((4.0, 3.0), (2.0,), True),
        ((4.0, 1.0), (2.0,), False),
    ],
)
def test_every_chosen_answer_must_beat_every_rejected_one(
    chosen: tuple[float, ...], rejected: tuple[float | None, ...], right: bool
) -> None:
    assert row("Ties", chosen, rejected).right is right


def test_each_subset_of_rewardbench_2_is_a_section() -> None:
    rows = [*judged("Factuality", 1, 0), *judged("Safety", 0, 3), *judged("Focus", 1, 1)]
    figures = rewardbench_figures(rows)
    assert figures["sections"] == {"Safety": 0.0, "Factuality": 1.0, "Focus": 0.5}
    assert figures["score"] == pytest.approx(0.5)
