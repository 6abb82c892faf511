"""Outputs of a pooling endpoint: by their place, and only when nothing speaks against it."""

from __future__ import annotations

from typing import Any

import pytest

from promptmill.inference.http.errors import Malformed, NotFinite
from promptmill.inference.http.grade.classify import ClassifyFormat
from promptmill.runtime.errors import Misconfigured
from promptmill_schemas import AttributeScores

FIVE = [2.5, 3.0, 1.0, 0.5, -1.0]


def reply(outputs: Any, label: Any = None) -> dict[str, Any]:
    return {"data": [{"index": 0, "label": label, "probs": outputs, "num_classes": 5}]}


def test_five_outputs_are_the_attributes_in_their_order() -> None:
    assert ClassifyFormat().read(reply(FIVE, "correctness")) == AttributeScores(
        helpfulness=2.5, correctness=3.0, coherence=1.0, complexity=0.5, verbosity=-1.0
    )


def test_nine_outputs_are_those_of_nemotron() -> None:
    scores = ClassifyFormat().read(reply([float(n) for n in range(9)], "LABEL_8"))
    assert (scores.helpfulness, scores.verbosity) == (4.0, 8.0)


def test_settings_say_which_output_is_which() -> None:
    scores = ClassifyFormat({"correctness": "4"}).read(reply(FIVE, "any"))
    assert (scores.correctness, scores.helpfulness) == (-1.0, 0.0)


def test_a_label_that_contradicts_the_order_stops_the_worker() -> None:
    with pytest.raises(Misconfigured, match=r"'verbosity'.*--heads"):
        ClassifyFormat().read(reply(FIVE, "verbosity"))


def test_probabilities_are_not_taken_for_raw_outputs() -> None:
    with pytest.raises(Misconfigured, match="use_activation"):
        ClassifyFormat().read(reply([0.1, 0.2, 0.3, 0.2, 0.2]))


def test_an_output_that_is_not_finite_never_passes() -> None:
    with pytest.raises(NotFinite):
        ClassifyFormat().read(reply([float("nan"), *FIVE[1:]]))


@pytest.mark.parametrize("body", [None, {}, {"data": []}, {"data": [None]}, reply([]), reply("x")])
def test_a_reply_without_outputs_is_malformed(body: Any) -> None:
    with pytest.raises(Malformed):
        ClassifyFormat().read(body)


def test_another_number_of_outputs_later_is_malformed() -> None:
    form = ClassifyFormat()
    form.read(reply(FIVE))
    with pytest.raises(Malformed, match="the first answer had 5"):
        form.read(reply([1.0]))
