"""Comparisons in both orders: which pairs, what they mean, and what a retry pays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.inference.ports import Compared, CompareRequest
from promptmill.inference.scores import Calibration
from promptmill.reward.pairwise import Pairwise, pairs_of
from promptmill.reward.panel import Answers, PanelVerdict, Refusal
from promptmill.runtime.errors import Exhausted, Poison, Transient
from promptmill_schemas import ATTRIBUTES, AttributeScores, Message
from support.engines import FakeComparer

ASKED = (Message(role="user", content="Name a prime."),)


def answers(*texts: str | None) -> Answers:
    return Answers("prompt", ASKED, texts)


def scores(value: float) -> AttributeScores:
    return AttributeScores(**dict.fromkeys(ATTRIBUTES, value))


def by_value(request: CompareRequest) -> Compared:
    """Scores an answer by the number that it is."""
    return scores(float(request.first)), scores(float(request.second))


def prefers_the_first(request: CompareRequest) -> Compared:
    one, other = by_value(request)
    return scores(one.helpfulness + 1), other


async def test_a_pair_is_asked_in_both_orders() -> None:
    engine = FakeComparer(by_value)
    judged = await Pairwise([engine]).judge(answers("1", "3"))
    assert [(r.first, r.second) for r in engine.asked] == [("1", "3"), ("3", "1")]
    assert judged == [PanelVerdict(scores(1.0), 0.0), PanelVerdict(scores(3.0), 0.0)]


async def test_the_preference_for_a_place_cancels_out_and_is_disagreement() -> None:
    judged = await Pairwise([FakeComparer(prefers_the_first)]).judge(answers("1", "3"))
    assert judged == [PanelVerdict(scores(1.5), 1.0), PanelVerdict(scores(3.5), 1.0)]


async def test_several_graders_are_asked_about_the_same_pairs() -> None:
    engines = [FakeComparer(by_value), FakeComparer(prefers_the_first)]
    judged = await Pairwise(engines).judge(answers("1", "3"))
    assert judged == [PanelVerdict(scores(1.25), 1.0), PanelVerdict(scores(3.25), 1.0)]


async def test_every_comparison_is_calibrated() -> None:
    panel = Pairwise([FakeComparer(by_value)], Calibration({"coherence": (0.0, 9.0)}))
    (one, _) = await panel.judge(answers("1", "3"))
    assert isinstance(one, PanelVerdict)
    assert one.scores.coherence == 9.0


@pytest.mark.parametrize(
    ("pairs", "requests"), [("circular", [0, 0, 2, 6, 8, 10]), ("all", [0, 0, 2, 6, 12, 20])]
)
async def test_the_pairs_decide_how_many_requests_are_made(pairs: str, requests: list[int]) -> None:
    for count, expected in enumerate(requests):
        if not count:
            continue
        engine = FakeComparer(by_value)
        panel = Pairwise([engine], pairs="all" if pairs == "all" else "circular")
        await panel.judge(answers(*map(str, range(count))))
        assert len(engine.asked) == expected


@given(st.lists(st.integers(0, 63), unique=True), st.sampled_from(["circular", "all"]))
def test_every_answer_is_in_a_pair_and_no_pair_comes_twice(indexes: list[int], pairs: str) -> None:
    found = pairs_of(indexes, "all" if pairs == "all" else "circular")
    assert len({frozenset(pair) for pair in found}) == len(found)
    assert all(one != other for one, other in found)
    if len(indexes) > 1:
        assert {index for pair in found for index in pair} == set(indexes)


async def test_one_answer_alone_cannot_be_compared() -> None:
    engine = FakeComparer(by_value)
    judged = await Pairwise([engine]).judge(answers("1", None))
    assert isinstance(judged[0], Refusal)
    assert "n of at least 2" in judged[0].reason
    assert judged[1] == Refusal("the answer has no text")
    assert engine.asked == []


async def test_an_answer_whose_comparisons_all_fail_is_refused_alone() -> None:
    def reply(request: CompareRequest) -> Compared:
        if "bad" in (request.first, request.second):
            raise Poison("the judge refuses")
        return by_value(request)

    panel = Pairwise([FakeComparer(reply)], pairs="all")
    judged = await panel.judge(answers("1", "bad", "3"))
    assert judged[0] == PanelVerdict(scores(1.0), 0.0)
    assert judged[1] == Refusal("no comparison has a result: the judge refuses")
    assert judged[2] == PanelVerdict(scores(3.0), 0.0)


async def test_a_pair_with_one_order_does_not_count() -> None:
    def reply(request: CompareRequest) -> Compared:
        if (request.first, request.second) == ("3", "1"):
            raise Poison("no verdict")
        return prefers_the_first(request)

    judged = await Pairwise([FakeComparer(reply)]).judge(answers("1", "3"))
    assert judged == [Refusal("no comparison has a result: no verdict")] * 2


async def test_a_retry_makes_only_the_comparisons_that_failed() -> None:
    busy = [True]

    def reply(request: CompareRequest) -> Compared:
        if busy and request.first == "3":
            raise Transient("busy")
        return by_value(request)

    engine = FakeComparer(reply)
    panel = Pairwise([engine])
    with pytest.raises(Transient):
        await panel.judge(answers("1", "3"))
    busy.clear()
    await panel.judge(answers("1", "3"))
    assert [request.first for request in engine.asked] == ["1", "3", "3"]


async def test_a_grader_that_fails_for_good_refuses_no_answer() -> None:
    def reply(_request: CompareRequest) -> Compared:
        raise Exhausted("boom")

    with pytest.raises(Exhausted):
        await Pairwise([FakeComparer(reply)]).judge(answers("1", "3"))
