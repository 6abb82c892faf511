"""Scripted engines play the same for the same seed, and fail where they are told to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from promptmill.inference.engines import build_generator, build_grader
from promptmill.inference.ports import Answer, GenerateRequest, GradeRequest
from promptmill.inference.scripted import Script, ScriptedGenerator, ScriptedGrader, read_script
from promptmill.runtime.errors import EngineDead, Misconfigured, Poison, Transient
from promptmill_schemas import Message, Sampling

MESSAGES = (Message(role="user", content="How are you?"),)


def asked(name: str = "a", *, seed: int = 1, max_tokens: int = 512) -> GenerateRequest:
    return GenerateRequest(name, MESSAGES, Sampling(max_tokens=max_tokens), seed)


async def failures(call: Callable[[str], Awaitable[object]], kind: type[Exception]) -> set[str]:
    """The names among 200 for which the call fails so."""
    names = [f"r{number}" for number in range(200)]
    results = await asyncio.gather(*map(call, names), return_exceptions=True)
    assert all(isinstance(r, kind) for r in results if isinstance(r, Exception))
    return {name for name, r in zip(names, results, strict=True) if isinstance(r, Exception)}


async def test_the_same_seed_gives_the_same_answer_in_another_engine() -> None:
    script = read_script("latency_s=0,seed=7")
    first = await ScriptedGenerator(script).generate(asked())
    assert await ScriptedGenerator(script).generate(asked("other")) == first
    assert (await ScriptedGenerator(script).generate(asked(seed=2))).text != first.text


async def test_fresh_answers_differ_each_time() -> None:
    engine = ScriptedGenerator(Script(latency_s=0, fresh=1))
    assert (await engine.generate(asked())).text != (await engine.generate(asked())).text


async def test_an_answer_is_cut_at_max_tokens() -> None:
    answer = await ScriptedGenerator(Script(latency_s=0)).generate(asked(max_tokens=3))
    assert answer == Answer(answer.text, "length", 3, 3)
    assert len(answer.text.split()) == 3


async def test_a_conversation_beyond_the_context_is_poison() -> None:
    with pytest.raises(Poison, match="3 words"):
        await ScriptedGenerator(Script(context=2)).generate(asked())
    with pytest.raises(Poison, match="5 words"):
        await ScriptedGrader(Script(context=4)).grade(GradeRequest("a", MESSAGES, "Fine, thanks."))


async def test_poison_is_the_same_in_every_attempt() -> None:
    engine = ScriptedGenerator(Script(latency_s=0, poison=0.2))

    async def call(name: str) -> None:
        await engine.generate(asked(name))

    first = await failures(call, Poison)
    assert 20 < len(first) < 60
    assert await failures(call, Poison) == first


async def test_what_is_transient_succeeds_when_tried_again() -> None:
    engine = ScriptedGenerator(Script(latency_s=0, transient=0.3))

    async def call(name: str) -> None:
        await engine.generate(asked(name))

    first = await failures(call, Transient)
    assert 30 < len(first) < 90
    remaining = first
    for _ in range(20):
        again = await asyncio.gather(*map(call, sorted(remaining)), return_exceptions=True)
        outcomes = zip(sorted(remaining), again, strict=True)
        remaining = {name for name, outcome in outcomes if outcome is not None}
    assert remaining == set()


async def test_a_dead_engine_fails_everything_from_then_on() -> None:
    engine = ScriptedGenerator(Script(latency_s=0, dead=1.0))
    for _ in range(2):
        with pytest.raises(EngineDead):
            await engine.generate(asked())


async def test_a_request_can_hang_until_it_is_cancelled() -> None:
    engine = ScriptedGenerator(Script(latency_s=0, hang=1.0))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(engine.generate(asked()), 0.05)


async def test_scores_depend_on_the_answer_alone() -> None:
    grader = ScriptedGrader(Script(latency_s=0))
    first = await grader.grade(GradeRequest("a", MESSAGES, "Fine."))
    assert await grader.grade(GradeRequest("b", MESSAGES, "Fine.")) == first
    assert await grader.grade(GradeRequest("c", MESSAGES, "Bad.")) != first
    assert 0.0 <= first.helpfulness <= 4.0


async def test_a_score_that_is_no_number_is_poison() -> None:
    with pytest.raises(Poison, match="nan"):
        await ScriptedGrader(Script(latency_s=0, nan=1.0)).grade(GradeRequest("a", MESSAGES, "x"))


@pytest.mark.parametrize("text", ["latnecy=1", "poison", "tokens=1.5", "seed=-1", "poison=nan"])
def test_a_script_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(Misconfigured, match=r"script"):
        read_script(text)


def test_engines_are_built_by_name_and_say_what_they_are() -> None:
    assert build_generator("scripted", "seed=3").info.engine == "scripted"
    assert build_generator("scripted", "seed=3").info.revision == "seed-3"
    assert build_grader("scripted", "").info.engine == "scripted"


@pytest.mark.parametrize("build", [build_generator, build_grader])
def test_an_unknown_engine_or_no_model_is_refused(build: Callable[..., object]) -> None:
    with pytest.raises(Misconfigured, match="'llama' is not available"):
        build("llama", "model")
    with pytest.raises(Misconfigured, match="--model"):
        build("vllm", "")
