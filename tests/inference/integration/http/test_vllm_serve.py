"""The engines against real ``vllm serve`` on the CPU: what vLLM promises, it keeps."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from inference.integration.http.vllm_server import vllm_server
from promptmill.inference.http.grade.classify import ClassifyFormat
from promptmill.inference.http.grade.judge import JudgeFormat
from promptmill.runtime.errors import Poison
from promptmill_demo.models.demo import DemoModels
from promptmill_schemas import ATTRIBUTES, StructuredOutput
from support.http_engines import answered, generating, grading, question

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]

SLOW: dict[str, Any] = {"model": "", "request_timeout_s": 120.0, "patience_s": 120.0}


@pytest.fixture(scope="module")
def generator_url(
    demo_models: DemoModels, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    log = tmp_path_factory.mktemp("vllm") / "generate.log"
    with vllm_server(demo_models.instruct, log) as url:
        yield url


async def test_a_generator_at_vllm_does_all_that_a_prompt_may_ask(generator_url: str) -> None:
    async with generating(generator_url, **SLOW) as engine:
        assert engine.info.model == "demo-instruct"
        assert engine.context_tokens > 0

        first, again, other = await asyncio.gather(
            *(engine.generate(question(seed=seed, max_tokens=24)) for seed in (1, 1, 2))
        )
        assert first.text == again.text != other.text
        assert 0 < first.completion_tokens <= 24
        assert first.prompt_tokens > 0

        everything: dict[str, Any] = {
            "top_p": 0.9,
            "top_k": 20,
            "min_p": 0.05,
            "presence_penalty": 0.1,
            "frequency_penalty": 0.1,
            "repetition_penalty": 1.1,
            "stop": ("zzz",),
            "logprobs": True,
        }
        answer = await engine.generate(question(max_tokens=8, **everything))
        assert answer.logprob is not None
        assert answer.logprob < 0

        schema = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}
        form = StructuredOutput(json_schema=schema | {"additionalProperties": False})
        answer = await engine.generate(question(structured=form, max_tokens=64))
        if answer.finish_reason == "stop":
            assert set(orjson.loads(answer.text)) == {"a"}
        answer = await engine.generate(question(structured=StructuredOutput(choice=("ja", "nein"))))
        assert answer.text in {"ja", "nein"}
        answer = await engine.generate(question(structured=StructuredOutput(regex="[ab]{3}")))
        assert re.fullmatch("[ab]{3}", answer.text)

        answer = await engine.generate(question(max_tokens=100_000, stop=("e",)))
        assert answer.finish_reason in {"stop", "length"}
        with pytest.raises(Poison, match="context"):
            await engine.generate(question("prime " * 20_000))


async def test_a_base_model_at_vllm_completes_a_text(generator_url: str) -> None:
    async with generating(generator_url, "completions", **SLOW) as engine:
        answer = await engine.generate(question("The number", max_tokens=8, logprobs=True))
    assert answer.completion_tokens <= 8
    assert answer.logprob is not None


async def test_an_unknown_adapter_is_not_answered_by_the_model_itself(generator_url: str) -> None:
    async with generating(generator_url, tries=1, **SLOW) as engine:
        asked = replace(question(), adapter="poet")
        with pytest.raises(Exception, match="poet"):
            await engine.generate(asked)


async def test_a_judge_at_vllm_is_held_to_its_form(generator_url: str) -> None:
    async with grading(generator_url, JudgeFormat(max_tokens=256), **SLOW) as engine:
        scores = await engine.grade(answered())
    assert all(0 <= getattr(scores, name) <= 4 for name in ATTRIBUTES)


async def test_a_pooling_model_at_vllm_grades_with_raw_outputs(
    demo_models: DemoModels, tmp_path: Path
) -> None:
    with vllm_server(demo_models.reward, tmp_path / "log", "--runner", "pooling") as url:
        async with grading(url, ClassifyFormat(), **SLOW) as engine:
            good, again = [await engine.grade(answered("Yes, it is.")) for _ in range(2)]
            other = await engine.grade(answered("no no no no no no no no"))
            assert good == again != other
            with pytest.raises(Poison):
                await engine.grade(answered("prime " * 20_000))
