"""A reward worker's work: a finite grade or a refusal for every candidate."""

from __future__ import annotations

import math

import pytest

from promptmill.inference.ports import GradeRequest
from promptmill.inference.scores import Calibration
from promptmill.reward.pointwise import Pointwise
from promptmill.reward.work import Reward
from promptmill.runtime.errors import Poison, Transient
from promptmill.stream.outcome import Emit
from promptmill_schemas import (
    AttributeScores,
    Scored,
)
from promptmill_schemas.grading import NEMOTRON_WEIGHTS
from support.engines import FakeGrader
from support.scored import completion


def scores(value: float, verbosity: float = 1.0) -> AttributeScores:
    return AttributeScores.model_construct(
        helpfulness=value, correctness=value, coherence=2.0, complexity=1.0, verbosity=verbosity
    )


async def scored(grader: FakeGrader, *texts: str) -> Scored:
    outcome = await Reward(Pointwise([grader]), NEMOTRON_WEIGHTS)(completion(*texts))
    assert isinstance(outcome, Emit)
    contract = outcome.messages[0].contract
    assert isinstance(contract, Scored)
    return contract


async def test_every_candidate_is_graded_in_order_and_rewarded_by_the_weights() -> None:
    result = await scored(FakeGrader(lambda r: scores(float(r.answer))), "3", "1")
    assert [g.scores and g.scores.helpfulness for g in result.grades] == [3.0, 1.0]
    assert result.grades[0].reward == pytest.approx(0.3 * 3 + 0.74 * 3 + 0.46 * 2 + 0.47 - 0.33)
    assert result.scorer.weights == NEMOTRON_WEIGHTS


async def test_an_answer_that_cannot_be_graded_is_refused_and_the_others_are_graded() -> None:
    def reply(request: GradeRequest) -> AttributeScores:
        if request.answer == "long":
            raise Poison("5,000 tokens, the context holds 4,096")
        return scores(2.0)

    result = await scored(FakeGrader(reply), "short", "long")
    assert result.grades[0].scores is not None
    assert result.grades[1].refusal == "5,000 tokens, the context holds 4,096"
    assert result.grades[1].scores is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
async def test_a_score_that_is_not_finite_never_passes(value: float) -> None:
    result = await scored(FakeGrader(lambda _r: scores(1.0, verbosity=value)), "a")
    assert result.grades[0].scores is None
    assert "verbosity" in (result.grades[0].refusal or "")


async def test_a_grader_that_is_busy_is_asked_again_by_the_loop() -> None:
    def reply(request: GradeRequest) -> AttributeScores:
        raise Transient("busy")

    with pytest.raises(Transient):
        await scored(FakeGrader(reply), "a")


async def test_calibrated_scores_are_rewarded_and_their_lines_are_stamped() -> None:
    calibration = Calibration({"correctness": (2.0, -1.0)})
    grader = FakeGrader(lambda _request: scores(1.5))
    outcome = await Reward(Pointwise([grader], calibration), NEMOTRON_WEIGHTS)(completion("a"))
    assert isinstance(outcome, Emit)
    result = outcome.messages[0].contract
    assert isinstance(result, Scored)
    graded = result.grades[0].scores
    assert graded is not None
    assert (graded.correctness, graded.helpfulness) == (2.0, 1.5)
    assert result.grades[0].reward == pytest.approx(graded.weighted(NEMOTRON_WEIGHTS))
    assert result.scorer.calibration == {"correctness": (2.0, -1.0)}


async def test_a_retried_record_pays_only_for_the_grades_that_it_lacks() -> None:
    asked: list[str] = []
    busy = {"b"}

    def reply(request: GradeRequest) -> AttributeScores:
        asked.append(request.answer)
        if request.answer in busy:
            raise Transient("busy")
        return scores(2.0)

    work = Reward(Pointwise([FakeGrader(reply)]), NEMOTRON_WEIGHTS)
    with pytest.raises(Transient):
        await work(completion("a", "b"))
    busy.clear()
    await work(completion("a", "b"))
    assert asked == ["a", "b", "b"]


async def test_grades_are_kept_for_these_answers_and_not_for_others_to_the_same_prompt() -> None:
    busy = {"b"}

    def reply(request: GradeRequest) -> AttributeScores:
        if request.answer in busy:
            raise Transient("busy")
        return scores(float(len(request.answer)))

    work = Reward(Pointwise([FakeGrader(reply)]), NEMOTRON_WEIGHTS)
    with pytest.raises(Transient):
        await work(completion("a", "b"))
    outcome = await work(completion("other", "c"))
    assert isinstance(outcome, Emit)
    result = outcome.messages[0].contract
    assert isinstance(result, Scored)
    assert [grade.scores and grade.scores.helpfulness for grade in result.grades] == [5.0, 1.0]
