"""An instruct worker's work: every candidate its own request and seed."""

from __future__ import annotations

import pytest

from promptmill.inference.ports import Answer, GenerateRequest
from promptmill.instruct.work import Instruct
from promptmill.runtime.errors import EngineDead, Poison, Transient
from promptmill.stream.outcome import Drop, Emit
from promptmill_schemas import Completion, Message, Prompt, Sampling
from promptmill_schemas.completion import ANSWERS_TAG, GIVEN
from promptmill_schemas.ids import candidate_seed, text_digest
from promptmill_schemas.topics import COMPLETIONS
from support.engines import FakeGenerator, NoCounter


def prompt(n: int = 3) -> Prompt:
    ask = Message(role="user", content="Why is the sky blue?")
    return Prompt.create("run", (ask,), n=n, sampling=Sampling(max_tokens=5), tags={"a": "b"})


async def answered(engine: FakeGenerator, asked: Prompt) -> Completion:
    outcome = await Instruct(engine, NoCounter())(asked)
    assert isinstance(outcome, Emit)
    (message,) = outcome.messages
    assert message.topic is COMPLETIONS
    assert isinstance(message.contract, Completion)
    return message.contract


async def test_a_prompt_gets_all_of_its_candidates_in_order() -> None:
    asked = prompt(3)
    completion = await answered(FakeGenerator(), asked)
    seeds = [candidate_seed(asked.prompt_id, index) for index in range(3)]
    assert completion.prompt == asked
    assert [c.index for c in completion.candidates] == [0, 1, 2]
    assert [c.seed for c in completion.candidates] == seeds
    assert [c.text for c in completion.candidates] == [f"answer {seed}" for seed in seeds]
    assert [c.digest for c in completion.candidates] == [
        text_digest(c.text) for c in completion.candidates
    ]


async def test_every_candidate_is_a_request_with_its_own_seed_and_the_prompts_sampling() -> None:
    engine, asked = FakeGenerator(), prompt(4)
    await answered(engine, asked)
    assert len({request.seed for request in engine.asked}) == 4
    assert len({request.request_id for request in engine.asked}) == 4
    assert {request.sampling for request in engine.asked} == {asked.sampling}


async def test_the_same_prompt_is_asked_with_the_same_seeds_again() -> None:
    first, second = FakeGenerator(), FakeGenerator()
    await answered(first, prompt())
    await answered(second, prompt())
    assert [r.seed for r in first.asked] == [r.seed for r in second.asked]


@pytest.mark.parametrize(
    ("failures", "expected"),
    [
        ({1: Transient("busy")}, Transient),
        ({0: Transient("busy"), 2: Poison("too long")}, Poison),
        ({0: Poison("too long"), 1: Transient("busy"), 2: EngineDead("gone")}, EngineDead),
    ],
)
async def test_the_gravest_failure_of_the_candidates_is_the_prompts(
    failures: dict[int, Exception], expected: type[Exception]
) -> None:
    def reply(request: GenerateRequest) -> Answer:
        if error := failures.get(int(request.request_id.split("-")[-1])):
            raise error
        return Answer("fine", "stop", 1, 1)

    with pytest.raises(expected):
        await Instruct(FakeGenerator(reply), NoCounter())(prompt(3))


async def test_finished_answers_are_kept_while_a_failed_candidate_is_tried_again() -> None:
    tries: list[str] = []

    def reply(request: GenerateRequest) -> Answer:
        tries.append(request.request_id[-1])
        if tries.count("1") == 1 and request.request_id.endswith("-1"):
            raise Transient("busy")
        return Answer(request.request_id, "stop", 1, 1)

    work, asked = Instruct(FakeGenerator(reply), NoCounter()), prompt(3)
    with pytest.raises(Transient):
        await work(asked)
    assert isinstance(await work(asked), Emit)
    assert tries == ["0", "1", "2", "1"]


class SettledBelow:
    """Every prompt of fewer replays is settled."""

    def __init__(self, replays: int) -> None:
        self.replays = replays

    def is_settled(self, prompt: Prompt) -> bool:
        return prompt.replays < self.replays


async def test_a_settled_prompt_is_dropped_before_it_is_generated() -> None:
    engine = FakeGenerator()
    instruct = Instruct(engine, NoCounter(), SettledBelow(1))
    assert await instruct(prompt()) == Drop("settled")
    assert engine.asked == []
    assert isinstance(await instruct(prompt().model_copy(update={"replays": 1})), Emit)


async def test_a_prompt_that_was_published_with_its_answers_is_not_asked() -> None:
    engine, asked = FakeGenerator(), prompt()
    given = asked.model_copy(update={"tags": {ANSWERS_TAG: GIVEN}})
    assert await Instruct(engine, NoCounter())(given) == Drop("answers_given")
    assert engine.asked == []
