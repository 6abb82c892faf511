"""Several graders of single answers: the mean, the disagreement, and what a retry pays."""

from __future__ import annotations

import pytest

from promptmill.inference.ports import GradeRequest, GraderInfo, Load, Trouble
from promptmill.inference.scores import Calibration
from promptmill.reward.panel import Answers, Graders, PanelVerdict, Refusal
from promptmill.reward.pointwise import Pointwise
from promptmill.runtime.errors import Exhausted, Misconfigured, Poison, Transient
from promptmill_schemas import ATTRIBUTES, AttributeScores, Message
from support.engines import FakeGrader

ASKED = (Message(role="user", content="Name a prime."),)


def answers(*texts: str | None) -> Answers:
    return Answers("prompt", ASKED, texts)


def scores(value: float, **others: float) -> AttributeScores:
    return AttributeScores(**(dict.fromkeys(ATTRIBUTES, value) | others))


def says(value: float, model: str = "a", **others: float) -> FakeGrader:
    return FakeGrader(lambda _request: scores(value, **others), GraderInfo("fake", model, "r"))


async def test_one_grader_has_nobody_to_disagree_with() -> None:
    assert await Pointwise([says(3.0)]).judge(answers("7")) == [PanelVerdict(scores(3.0))]


async def test_several_graders_give_their_mean_and_how_far_they_differ() -> None:
    panel = Pointwise([says(1.0), says(2.0, coherence=5.0), says(3.0)])
    (verdict,) = await panel.judge(answers("7"))
    assert isinstance(verdict, PanelVerdict)
    assert verdict.scores == scores(2.0, coherence=3.0)
    assert verdict.disagreement == 4.0


async def test_each_opinion_is_calibrated() -> None:
    panel = Pointwise([says(1.0), says(2.0)], Calibration({"coherence": (2.0, 1.0)}))
    (verdict,) = await panel.judge(answers("7"))
    assert isinstance(verdict, PanelVerdict)
    assert verdict.scores == scores(1.5, coherence=4.0)
    assert verdict.disagreement == 2.0


async def test_an_answer_that_one_grader_refuses_is_refused_alone() -> None:
    def reply(request: GradeRequest) -> AttributeScores:
        if request.answer == "long":
            raise Poison("too long")
        return scores(2.0)

    other = FakeGrader(reply, GraderInfo("fake", "b"))
    judged = await Pointwise([says(1.0), other]).judge(answers("7", "long", None, "5"))
    assert judged[1] == Refusal("b: too long")
    assert judged[2] == Refusal("the answer has no text")
    assert judged[0] == judged[3] == PanelVerdict(scores(1.5), 1.0)


async def test_a_retry_asks_only_the_grader_that_failed() -> None:
    asked: list[str] = []
    busy = [True]

    def reply_a(request: GradeRequest) -> AttributeScores:
        asked.append(f"a {request.answer}")
        return scores(1.0)

    def reply_b(request: GradeRequest) -> AttributeScores:
        asked.append(f"b {request.answer}")
        if busy and request.answer == "5":
            raise Transient("busy")
        return scores(2.0)

    panel = Pointwise([FakeGrader(reply_a), FakeGrader(reply_b)])
    with pytest.raises(Transient):
        await panel.judge(answers("7", "5"))
    busy.clear()
    await panel.judge(answers("7", "5"))
    assert sorted(asked) == ["a 5", "a 7", "b 5", "b 5", "b 7"]


async def test_a_grader_that_fails_for_good_refuses_no_answer() -> None:
    def reply(_request: GradeRequest) -> AttributeScores:
        raise Exhausted("boom")

    with pytest.raises(Exhausted):
        await Pointwise([says(1.0), FakeGrader(reply)]).judge(answers("7"))


def test_several_graders_have_one_identity() -> None:
    graders = Graders([says(1.0, "a"), says(1.0, "b")])
    assert graders.info == GraderInfo("fake", "a+b", "r")
    assert graders.context_tokens == 0
    assert graders.load == Load()


def test_the_smallest_known_context_counts() -> None:
    engines = [says(1.0), says(1.0), says(1.0)]
    for engine, tokens in zip(engines, (0, 4096, 8192), strict=True):
        engine.context_tokens = tokens
    assert Graders(engines).context_tokens == 4096


async def test_a_grader_that_cannot_start_stops_the_start_of_all() -> None:
    class Broken(FakeGrader):
        async def start(self) -> None:
            raise Misconfigured("no such model")

    with pytest.raises(Misconfigured, match="no such model"):
        await Graders([says(1.0), Broken(lambda _request: scores(1.0))]).start()


def test_the_trouble_of_any_grader_is_that_of_all() -> None:
    class Troubled(FakeGrader):
        trouble = Trouble("quota", "the quota of b is used up")

    graders = Graders([says(1.0), Troubled(lambda _request: scores(1.0))])
    assert graders.trouble.cause == "quota"
    assert Graders([says(1.0)]).trouble == Trouble()
