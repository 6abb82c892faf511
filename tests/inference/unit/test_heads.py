"""Labels of a classifier become attributes, or the start fails; scores are always finite."""

from __future__ import annotations

import math

import pytest

from promptmill.inference.scores import read_heads
from promptmill.runtime.errors import Misconfigured, Poison
from promptmill_schemas import ATTRIBUTES


def test_labels_are_found_by_name_in_any_order() -> None:
    labels = list(reversed(ATTRIBUTES))
    scores = read_heads(labels).scores([0.5, 1.5, 2.5, 3.5, 4.5])
    assert scores.helpfulness == 4.5
    assert scores.verbosity == 0.5


def test_labels_with_one_common_prefix_are_found_among_others() -> None:
    labels = ["safety-harm", *(f"helpsteer-{name}" for name in ATTRIBUTES), "helpsteer-tone"]
    scores = read_heads(labels).scores([9.0, 0.1, 0.2, 0.3, 0.4, 0.5, 9.0])
    assert scores.helpfulness == 0.1
    assert scores.verbosity == 0.5


def test_nine_unnamed_outputs_are_those_of_nemotron() -> None:
    labels = [f"LABEL_{index}" for index in range(9)]
    scores = read_heads(labels).scores([float(index) for index in range(9)])
    assert [getattr(scores, name) for name in ATTRIBUTES] == [4.0, 5.0, 6.0, 7.0, 8.0]


def test_a_single_output_says_nothing_of_style() -> None:
    scores = read_heads(["LABEL_0"]).scores([1.25])
    assert (scores.helpfulness, scores.correctness, scores.coherence) == (1.25, 1.25, 1.25)
    assert (scores.complexity, scores.verbosity) == (0.0, 0.0)


@pytest.mark.parametrize(
    "labels",
    [
        [f"LABEL_{index}" for index in range(5)],
        ["helpfulness", "correctness", "coherence", "complexity"],
        [*(f"a-{name}" for name in ATTRIBUTES), *(f"b-{name}" for name in ATTRIBUTES)],
        [*ATTRIBUTES, "helpfulness"],
    ],
    ids=["unnamed", "incomplete", "ambiguous", "twice"],
)
def test_labels_that_name_the_attributes_otherwise_are_refused(labels: list[str]) -> None:
    with pytest.raises(Misconfigured, match="id2label"):
        read_heads(labels)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_never_passes(value: float) -> None:
    with pytest.raises(Poison, match=f"coherence is {value}"):
        read_heads(ATTRIBUTES).scores([1.0, 1.0, value, 1.0, 1.0])


def test_an_output_that_is_no_attribute_may_be_anything() -> None:
    labels = ["other", *ATTRIBUTES]
    assert read_heads(labels).scores([math.nan, 1.0, 1.0, 1.0, 1.0, 1.0]).coherence == 1.0


def test_settings_name_the_label_or_the_index_of_each_attribute() -> None:
    heads = read_heads(["Reward", "length"], {"correctness": "reward", "verbosity": "1"})
    scores = heads.scores([1.5, 2.5])
    assert (scores.correctness, scores.verbosity, scores.helpfulness) == (1.5, 2.5, 0.0)


@pytest.mark.parametrize("name", ["tone", "2", "-1"])
def test_a_named_label_that_is_not_there_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(Misconfigured, match="reward, length"):
        read_heads(["reward", "length"], {"correctness": name})
