"""Several judges, and graders of pairs, on real servers: what a record costs and what it gets."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from promptmill.inference.http.grade.genrm import GenRmFormat
from promptmill.inference.http.grade.judge import JudgeFormat
from promptmill.inference.http.grade.pairwise import PairwiseFormat
from promptmill.reward.pairwise import Pairwise
from promptmill.reward.panel import Panel
from promptmill.reward.pointwise import Pointwise
from promptmill.reward.work import Reward
from promptmill.runtime.errors import PromptmillError
from promptmill.stream.outcome import Emit
from promptmill_schemas import (
    ATTRIBUTES,
    Grade,
    Scored,
)
from promptmill_schemas.grading import NEMOTRON_WEIGHTS
from support.bad_answers import Behaviour, chat, status
from support.bad_server import BadServer, Call
from support.http_engines import comparing, grading
from support.scored import completion


async def scored(panel: Panel, *texts: str) -> Scored:
    outcome = await Reward(panel, NEMOTRON_WEIGHTS)(completion(*texts))
    assert isinstance(outcome, Emit)
    result = outcome.messages[0].contract
    assert isinstance(result, Scored)
    return result


def helpfulness(grade: Grade) -> float | None:
    return None if grade.scores is None else grade.scores.helpfulness


def verdict(value: float, style: Callable[[str, float], tuple[str, Any]]) -> str:
    return json.dumps(dict(style(name, value) for name in ATTRIBUTES))


def is_canary(call: Call) -> bool:
    return "Are you there?" in str(call.body["messages"])


def by_length(call: Call) -> Behaviour:
    """A generative reward model that likes short answers and the first place."""
    turns = {turn["role"]: turn["content"] for turn in call.body["messages"]}
    one, two = (max(1, 5 - len(turns[f"response_{n}"])) for n in (1, 2))
    text = {"score_1": min(5, one + 1), "score_2": two, "ranking": 1 if one > two else 6}
    return chat(f"<think>Which is short?</think>```json\n{json.dumps(text)}\n```")


async def test_a_generative_reward_model_is_a_backend_of_the_reward_stage() -> None:
    async with BadServer(by_length) as server, comparing(server, GenRmFormat()) as engine:
        result = await scored(Pairwise([engine]), "7", "seven")
        roles = [[turn["role"] for turn in call.body["messages"]] for call in server.calls]
    assert roles == [["user", "response_1", "response_2"]] * 2
    assert [helpfulness(grade) for grade in result.grades] == [3.5, 0.5]
    assert [grade.disagreement for grade in result.grades] == [1.0, 1.0]
    assert result.scorer.engine == "openai-genrm"


async def test_an_answer_that_is_never_compared_is_refused_and_the_others_keep_their_grades() -> (
    None
):
    def behave(call: Call) -> Behaviour:
        return chat("Hm.") if "bad" in str(call.body["messages"]) else by_length(call)

    async with BadServer(behave) as server, comparing(server, GenRmFormat()) as engine:
        result = await scored(Pairwise([engine], pairs="all"), "7", "bad", "11")
    assert [helpfulness(grade) is None for grade in result.grades] == [False, True, False]
    assert "answered this 5 times" in str(result.grades[1].refusal)


async def test_a_judge_of_pairs_is_asked_about_both_orders() -> None:
    numbers = {f"{name}_{n}": n for n in (1, 2) for name in ATTRIBUTES}
    reply = chat(json.dumps(numbers))
    async with BadServer(lambda _: reply) as server, comparing(server, PairwiseFormat()) as engine:
        result = await scored(Pairwise([engine]), "7", "11")
        assert len(server.calls) == 2
    assert [helpfulness(grade) for grade in result.grades] == [1.5, 1.5]
    assert [grade.disagreement for grade in result.grades] == [1.0, 1.0]


async def test_several_judges_write_as_they_like_and_give_their_mean() -> None:
    styles: list[Callable[[str, float], tuple[str, Any]]] = [
        lambda name, value: (name.upper(), str(value)),
        lambda name, value: (name, f"{value * 2.5} of 10"),
    ]
    replies = [chat(f"Here:\n```json\n{verdict(n + 2.0, style)}\n```")
               for n, style in enumerate(styles)]  # fmt: skip
    async with (
        BadServer(lambda _: replies[0]) as one,
        BadServer(lambda _: replies[1]) as two,
        grading(one, JudgeFormat(), model="a") as first,
        grading(two, JudgeFormat(), model="b") as second,
    ):
        result = await scored(Pointwise([first, second]), "7", "11")
        assert (len(one.calls), len(two.calls)) == (2, 2)
    assert [helpfulness(grade) for grade in result.grades] == [2.5, 2.5]
    assert [grade.disagreement for grade in result.grades] == [1.0, 1.0]
    assert (result.scorer.engine, result.scorer.model) == ("openai-judge", "a+b")


async def test_a_judge_that_fails_costs_nothing_at_the_others_when_the_record_is_retried() -> None:
    good = verdict(3.0, lambda name, value: (name, value))
    broken = [True]

    def behave(call: Call) -> Behaviour:
        return status(500, "boom") if broken and not is_canary(call) else chat(good)

    async with (
        BadServer(lambda _: chat(good)) as one,
        BadServer(behave) as two,
        grading(one, JudgeFormat(), model="a") as first,
        grading(two, JudgeFormat(), model="b") as second,
    ):
        work = Reward(Pointwise([first, second]), NEMOTRON_WEIGHTS)
        with pytest.raises(PromptmillError):
            await work(completion("7", "11"))
        assert len(one.calls) == 2
        broken.clear()
        outcome = await work(completion("7", "11"))
        assert len(one.calls) == 2
    assert isinstance(outcome, Emit)
