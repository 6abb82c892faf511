"""How many calls a record costs: what a server does on purpose is paid once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from promptmill.filter.policy import Policy
from promptmill.inference.http.breaker import OPEN_AFTER
from promptmill.inference.http.generate import HttpGenerator
from promptmill.inference.http.grade.judge import JudgeFormat
from promptmill.inference.ports import GenerateRequest
from promptmill.instruct.work import Instruct
from promptmill.reward.pointwise import Pointwise
from promptmill.reward.work import Reward
from promptmill.runtime.errors import Poison
from promptmill.stream.settings import LoopSettings
from promptmill.testing.broker import MemoryBroker
from promptmill_schemas import (
    Completion,
    DeadLetter,
    Message,
    Prompt,
    Scored,
    Topic,
    decode,
    encode,
)
from promptmill_schemas.grading import NEMOTRON_WEIGHTS
from promptmill_schemas.topics import COMPLETIONS, DEAD_LETTERS, PROMPTS, SCORED
from support.bad_answers import Behaviour, chat, raw, refused_as, status
from support.bad_server import BadServer, Call
from support.engines import NoCounter
from support.http_engines import generating, grading, question
from support.streams import run_stage

SETTINGS = LoopSettings(slots=16, backoff_initial_s=0.01, backoff_max_s=0.05)
ASKED = 10

GOOD_VERDICT = (
    '{"helpfulness": 4, "correctness": 4, "coherence": 4, "complexity": 1, "verbosity": 2}'
)
REFUSAL = chat(None, message={"role": "assistant", "content": None, "refusal": "I cannot help."})
FILTERED = refused_as("content_filter")
CARDS = [{"id": "m"}, {"id": "poet", "parent": "m"}]


UNFINISHED: list[Any] = ["abort", "error", "insufficient_system_resource", "", "done"]
"""Finish reasons after which an answer may be incomplete."""


def prompts(number: int = ASKED, n: int = 1) -> list[Prompt]:
    asks = [Message(role="user", content=f"Question {index}") for index in range(number)]
    return [Prompt.create("run", (ask,), n=n) for ask in asks]


def is_canary(call: Call) -> bool:
    return "Are you there?" in str(call.body["messages"])


async def through(
    work: Callable[..., Any], topic: Topic, records: Sequence[Any], to: Topic
) -> tuple[list[Any], list[DeadLetter]]:
    """What a stage makes of these records: its output, and its dead letters."""
    broker = MemoryBroker()
    for record in records:
        broker.append(topic.name, b"k", encode(record))
    await run_stage(broker, work, topic, to, settings=SETTINGS, within_s=60)
    letters = [decode(DeadLetter, one.value) for one in broker.topic(DEAD_LETTERS.name)]
    return [decode(to.contract, one.value) for one in broker.topic(to.name)], letters


async def completed(engine: HttpGenerator, asked: Sequence[Prompt]) -> list[Completion]:
    """The completions; none of the prompts is dead-lettered."""
    done, letters = await through(Instruct(engine, NoCounter()), PROMPTS, asked, COMPLETIONS)
    assert letters == []
    return done


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (REFUSAL, "refusal"),
        (chat(None, finish_reason="content_filter"), "content_filter"),
        (chat("The sum of", finish_reason="content_filter"), "content_filter"),
        (chat("The sum of", finish_reason="safety"), "content_filter"),
        (chat("The sum of", finish_reason="refusal"), "refusal"),
        (chat("The sum of", finish_reason="model_length"), "length"),
        (chat(None, finish_reason="tool_calls"), "tool_calls"),
        (chat("Let me look.", finish_reason="tool_calls"), "tool_calls"),
        (FILTERED, "content_filter"),
        (chat(None, finish_reason="length"), "length"),
        (chat(None), "stop"),
        (chat(""), "stop"),
    ],
)
async def test_ten_refused_prompts_cost_ten_calls_and_end_as_rejects(
    answer: Behaviour, reason: str
) -> None:
    def behave(call: Call) -> Behaviour:
        if "grade" in call.said:
            return chat(GOOD_VERDICT)
        return chat() if is_canary(call) else answer

    async with BadServer(behave) as server, generating(server) as engine:
        done = await completed(engine, prompts())
        assert len(server.calls) == ASKED
        async with grading(server, JudgeFormat()) as grader:
            work = Reward(Pointwise([grader]), NEMOTRON_WEIGHTS)
            scored, letters = await through(work, COMPLETIONS, done, SCORED)
            asked_the_judge = sum(not is_canary(call) for call in server.calls)
    assert {c.finish_reason for one in done for c in one.candidates} == {reason}
    assert letters == []
    assert asked_the_judge == (ASKED if done[0].candidates[0].text else 0)
    assert all(rejected(one) for one in scored)


def rejected(scored: Scored) -> bool:
    """Whether no candidate passes a policy without limits."""
    policy = Policy(limits={})
    pairs = zip(scored.graded_candidates(), scored.grades, strict=True)
    return all(policy.failed(candidate, grade.refusal) for candidate, grade in pairs)


@pytest.mark.parametrize("word", [*UNFINISHED, None])
async def test_an_answer_that_was_broken_off_is_asked_for_again(word: Any) -> None:
    """Each prompt is answered at the second call; no half sentence becomes an answer."""
    asked: set[str] = set()

    def behave(call: Call) -> Behaviour:
        if is_canary(call) or call.said in asked:
            return chat("Yes.")
        asked.add(call.said)
        return chat("The sum of", finish_reason=word)

    async with BadServer(behave) as server, generating(server) as engine:
        done = await completed(engine, prompts())
        assert sum(not is_canary(call) for call in server.calls) == 2 * ASKED
    assert {c.text for one in done for c in one.candidates} == {"Yes."}


@pytest.mark.parametrize("word", [*UNFINISHED, None])
async def test_an_answer_that_is_always_broken_off_costs_one_budget(word: Any) -> None:
    def behave(call: Call) -> Behaviour:
        return chat() if is_canary(call) else chat("The sum of", finish_reason=word)

    async with BadServer(behave) as server, generating(server) as engine:
        work = Instruct(engine, NoCounter())
        done, letters = await through(work, PROMPTS, prompts(2), COMPLETIONS)
        assert sum(not is_canary(call) for call in server.calls) == 2 * 5
    assert done == []
    assert {letter.reason for letter in letters} == {"exhausted"}
    assert "finish reason" in letters[0].detail


async def test_a_refused_candidate_leaves_the_others_of_its_prompt_alone() -> None:
    def behave(call: Call) -> Behaviour:
        return REFUSAL if call.body["seed"] % 2 and not is_canary(call) else chat("Yes.")

    async with BadServer(behave) as server, generating(server) as engine:
        done = await completed(engine, prompts(n=4))
        assert len(server.calls) == ASKED * 4
    reasons = [c.finish_reason for one in done for c in one.candidates]
    assert set(reasons) == {"refusal", "stop"}


async def test_candidates_that_were_answered_are_not_asked_for_again() -> None:
    """One candidate in four fails twice; the others are paid once."""
    failed: dict[int, int] = {}

    def behave(call: Call) -> Behaviour:
        seed = call.body["seed"]
        if is_canary(call) or seed % 4 or failed.get(seed, 0) == 2:
            return chat("Yes.")
        failed[seed] = failed.get(seed, 0) + 1
        return status(500, "flapping")

    async with BadServer(behave) as server, generating(server) as engine:
        await completed(engine, prompts(n=4))
        answers = sum(not is_canary(call) for call in server.calls)
    assert failed
    assert answers == ASKED * 4 + 2 * len(failed)


async def test_a_judge_that_answers_rubbish_is_asked_five_times_and_grades_nothing() -> None:
    """Its rubbish is no outage: the breaker stays closed, the other answers are graded."""

    def behave(call: Call) -> Behaviour:
        material = call.body["messages"][-1]["content"]
        return chat("No comment." if "bad" in material else GOOD_VERDICT)

    asked = prompts(3 * OPEN_AFTER)
    async with (
        BadServer(lambda _: chat("bad")) as answers,
        BadServer(behave) as server,
        generating(answers) as engine,
        grading(server, JudgeFormat()) as grader,
    ):
        done = await completed(engine, asked)
        work = Reward(Pointwise([grader]), NEMOTRON_WEIGHTS)
        scored, letters = await through(work, COMPLETIONS, done, SCORED)
        assert len(server.calls) == 5 * len(asked)
        temperatures = {call.body["temperature"] for call in server.calls}
        assert grader._client.breaker.outages == 0
    assert letters == []
    assert all("not a JSON object" in str(grade.refusal) for one in scored for grade in one.grades)
    assert len(temperatures) == 5


async def test_a_refusing_judge_is_asked_once() -> None:
    def behave(call: Call) -> Behaviour:
        return chat(GOOD_VERDICT) if is_canary(call) else REFUSAL

    async with (
        BadServer(lambda _: chat("Yes.")) as answers,
        BadServer(behave) as server,
        generating(answers) as engine,
        grading(server, JudgeFormat()) as grader,
    ):
        done = await completed(engine, prompts())
        work = Reward(Pointwise([grader]), NEMOTRON_WEIGHTS)
        scored, letters = await through(work, COMPLETIONS, done, SCORED)
        assert len(server.calls) == ASKED
    assert letters == []
    assert all("I cannot help" in str(grade.refusal) for one in scored for grade in one.grades)


async def test_a_server_that_fails_one_prompt_for_good_costs_one_budget() -> None:
    def behave(call: Call) -> Behaviour:
        return raw(b"<html>", "text/html") if call.said == "Question 3" else chat("Yes.")

    async with BadServer(behave) as server, generating(server) as engine:
        work = Instruct(engine, NoCounter())
        done, letters = await through(work, PROMPTS, prompts(), COMPLETIONS)
        assert sum(call.said == "Question 3" for call in server.calls) == 10
    assert len(done) == ASKED - 1
    assert [letter.reason for letter in letters] == ["exhausted"]
    assert "this was attempt 10" in letters[0].detail


async def test_a_grader_that_fails_for_good_refuses_no_answer() -> None:
    """A server's failures say nothing about the answer: the record can be replayed."""

    def behave(call: Call) -> Behaviour:
        return chat(GOOD_VERDICT) if is_canary(call) else status(500, "boom")

    async with (
        BadServer(lambda _: chat("Yes.")) as answers,
        BadServer(behave) as server,
        generating(answers) as engine,
        grading(server, JudgeFormat()) as grader,
    ):
        done = await completed(engine, prompts(1))
        work = Reward(Pointwise([grader]), NEMOTRON_WEIGHTS)
        scored, letters = await through(work, COMPLETIONS, done, SCORED)
    assert scored == []
    assert [letter.reason for letter in letters] == ["exhausted"]


async def test_a_busy_server_is_asked_again_when_it_said_so() -> None:
    """Each prompt is refused once with Retry-After, and costs two calls."""
    refused: set[str] = set()

    def behave(call: Call) -> Behaviour:
        if is_canary(call) or call.said in refused:
            return chat("Yes.")
        refused.add(call.said)
        return status(429, "slow down", Retry_After="0.05")

    async with BadServer(behave) as server, generating(server) as engine:
        await completed(engine, prompts())
        assert len(server.calls) == 2 * ASKED


@pytest.mark.parametrize("cards", [CARDS, None])
async def test_a_misspelt_adapter_fails_its_own_prompt_and_nobody_else(
    cards: list[dict[str, Any]] | None,
) -> None:
    """More misspelt prompts than failures open the breaker."""

    def behave(call: Call) -> Behaviour:
        if call.body["model"] in {"m", "poet"}:
            return chat("Yes.")
        return status(404, f"The model `{call.body['model']}` does not exist.")

    async with BadServer(behave, cards) as server, generating(server) as engine:
        for _ in range(2 * OPEN_AFTER):
            with pytest.raises(Poison, match=r"the server does not have adapter 'peot'") as failure:
                await engine.generate(with_adapter("peot"))
            assert not engine._client.breaker.is_open
        assert (await engine.generate(with_adapter("poet"))).text == "Yes."
        asked = [call for call in server.calls if call.body["model"] == "peot"]
        assert engine._client.breaker.outages == 0
    assert len(asked) == 2 * OPEN_AFTER
    assert ("offers m, poet" if cards else "offers no list") in str(failure.value)


async def test_a_server_that_finds_nothing_any_more_is_not_the_adapters_fault() -> None:
    """A proxy answers 404 for all while its backend restarts: the prompt waits."""
    away = 3  # the prompt, and two canaries; three in a row end the worker

    def behave(call: Call) -> Behaviour:
        return status(404, "not found") if 1 < call.number <= 1 + away else chat("Yes.")

    async with BadServer(behave) as server, generating(server) as engine:
        assert (await engine.generate(with_adapter("poet"))).text == "Yes."


async def test_prompts_that_the_server_calls_wrong_never_open_the_breaker() -> None:
    def behave(call: Call) -> Behaviour:
        return chat("Yes.") if is_canary(call) else status(400, "messages.0 is too odd")

    async with BadServer(behave) as server, generating(server) as engine:
        work = Instruct(engine, NoCounter())
        _, letters = await through(work, PROMPTS, prompts(2 * OPEN_AFTER), COMPLETIONS)
        canaries = [call for call in server.calls if is_canary(call)]
        assert len(server.calls) - len(canaries) == 2 * OPEN_AFTER
        assert len(canaries) <= 3  # after 3, 6 and 12 rejections in a row
    assert {letter.reason for letter in letters} == {"poison"}


def with_adapter(name: str) -> GenerateRequest:
    return replace(question(), adapter=name)
