"""A generator in real vLLM inside this process."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

from promptmill.inference.ports import Answer, GenerateRequest
from promptmill.inference.vllm.generate import VllmGenerator, sampling_params
from promptmill.runtime.errors import Poison
from promptmill_demo.models.demo import DemoModels
from promptmill_schemas import Message, Sampling, StructuredOutput
from support.waiting import eventually

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.asyncio(loop_scope="module"),
]


def asked(text: str, seed: int = 1, **sampling: object) -> GenerateRequest:
    sampling.setdefault("max_tokens", 24)
    messages = (Message(role="user", content=text),)
    return GenerateRequest(f"r{seed}", messages, Sampling.model_validate(sampling), seed)


def outstanding(generator: VllmGenerator) -> int:
    return generator._model.progress.outstanding


async def test_it_says_what_it_is(generator: VllmGenerator, demo_models: DemoModels) -> None:
    info = generator.info
    assert (info.engine, info.model, info.tensor_parallel) == ("vllm", "demo-instruct", 1)
    assert re.fullmatch("[0-9a-f]{32}", info.revision)
    assert re.fullmatch("[0-9a-f]{32}", info.template_digest)
    assert generator.context_tokens == 2048
    assert Path(generator.tokenizer) == demo_models.instruct


async def test_the_same_seed_gives_the_same_text_and_another_seed_another(
    generator: VllmGenerator,
) -> None:
    first = await generator.generate(asked("Tell me of the sea.", seed=5))
    assert await generator.generate(asked("Tell me of the sea.", seed=5)) == first
    assert (await generator.generate(asked("Tell me of the sea.", seed=6))).text != first.text
    assert first.text


async def test_many_requests_are_answered_together_each_with_its_own_seed(
    generator: VllmGenerator,
) -> None:
    requests = [asked(f"Question {seed}?", seed=seed, max_tokens=40) for seed in range(64)]
    answers = await asyncio.gather(*map(generator.generate, requests))
    assert len({answer.text for answer in answers}) == 64
    assert {answer.finish_reason for answer in answers} == {"stop", "length"}
    assert all(answer.completion_tokens <= 40 for answer in answers)


async def test_seeded_prompts_that_fill_the_context_do_not_kill_the_engine(
    generator: VllmGenerator,
) -> None:
    long = "one " * 900
    answers = await asyncio.gather(
        *(generator.generate(asked(long + str(seed), seed=seed)) for seed in range(8))
    )
    assert all(answer.prompt_tokens > 900 for answer in answers)


async def test_a_prompt_longer_than_the_context_is_poison_before_the_engine_sees_it(
    generator: VllmGenerator,
) -> None:
    with pytest.raises(Poison, match=r"messages have \d+ tokens, the model's context holds 2047"):
        await generator.generate(asked("one two three " * 2000))
    assert outstanding(generator) == 0


async def test_an_answer_ends_with_the_context(generator: VllmGenerator) -> None:
    request = asked("one " * 1990, max_tokens=5000, temperature=0.0)
    answer = await generator.generate(request)
    assert answer.prompt_tokens + answer.completion_tokens <= 2048


async def test_stop_words_end_the_answer(generator: VllmGenerator) -> None:
    request = asked("Go on.", seed=3, max_tokens=200, stop=["e"])
    answer = await generator.generate(request)
    assert answer.finish_reason == "stop"
    assert "e" not in answer.text


async def test_all_of_a_prompts_sampling_reaches_the_engine() -> None:
    names = {"temperature", "top_p", "min_p", "max_tokens"}
    names |= {"presence_penalty", "frequency_penalty", "repetition_penalty", "top_k", "stop"}
    sampling = Sampling(
        temperature=0.5,
        top_p=0.9,
        top_k=7,
        min_p=0.1,
        max_tokens=11,
        stop=("x", "y"),
        presence_penalty=0.25,
        frequency_penalty=-0.25,
        repetition_penalty=1.25,
        seed=3,
    )
    told = sampling_params(sampling, seed=5)
    found = {name: getattr(told, name) for name in names}
    assert found == sampling.model_dump(include=names) | {"stop": ["x", "y"]}
    assert told.seed == 5


async def test_of_the_likeliest_token_alone_every_seed_draws_the_same(
    generator: VllmGenerator,
) -> None:
    drawn = [await generator.generate(asked("Go on.", seed=n, top_k=1)) for n in range(3)]
    assert len({answer.text for answer in drawn}) == 1


async def test_what_prompts_have_in_common_is_computed_once(generator: VllmGenerator) -> None:
    assert generator._model.core.config.cache_config.enable_prefix_caching


async def test_log_probabilities_are_summed_where_they_are_asked_for(
    generator: VllmGenerator,
) -> None:
    plain = await generator.generate(asked("Go on.", seed=4))
    with_logprobs = await generator.generate(asked("Go on.", seed=4, logprobs=True))
    assert plain.logprob is None
    assert with_logprobs.text == plain.text
    assert with_logprobs.logprob is not None
    assert with_logprobs.logprob < 0


@pytest.mark.parametrize(
    ("form", "pattern"),
    [
        (StructuredOutput(choice=("yes", "no")), "yes|no"),
        (StructuredOutput(regex="[ab]{3}"), "[ab]{3}"),
    ],
    ids=["choice", "regex"],
)
async def test_structured_output_has_the_wanted_form(
    generator: VllmGenerator, form: StructuredOutput, pattern: str
) -> None:
    answer = await generator.generate(asked("Say it.", structured=form))
    assert re.fullmatch(pattern, answer.text)


async def test_structured_output_follows_a_json_schema(generator: VllmGenerator) -> None:
    schema = {
        "type": "object",
        "properties": {"right": {"type": "boolean"}},
        "required": ["right"],
        "additionalProperties": False,
    }
    form = StructuredOutput(json_schema=schema)
    answer = await generator.generate(asked("Say it.", structured=form, max_tokens=64))
    assert isinstance(json.loads(answer.text)["right"], bool)


async def test_a_form_that_the_engine_refuses_is_poison(generator: VllmGenerator) -> None:
    with pytest.raises(Poison, match="refuse"):
        await generator.generate(asked("Say it.", structured=StructuredOutput(regex="(")))


async def test_an_adapter_that_is_not_loaded_is_poison(generator: VllmGenerator) -> None:
    request = GenerateRequest("r", (Message(role="user", content="Hi"),), Sampling(), 1, "pirate")
    with pytest.raises(Poison, match="'pirate' is not loaded in this worker"):
        await generator.generate(request)


async def test_a_cancelled_request_is_aborted_and_the_others_go_on(
    generator: VllmGenerator,
) -> None:
    endless = asked("Go on.", max_tokens=2000, repetition_penalty=2.0)
    tasks = [asyncio.create_task(generator.generate(endless)) for _ in range(2)]
    await eventually(lambda: outstanding(generator) == 2)
    tasks[0].cancel()
    other: Answer = await generator.generate(asked("And you?"))
    assert other.text
    tasks[1].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError] * 2
    assert outstanding(generator) == 0
