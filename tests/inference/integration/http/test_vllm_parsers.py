"""The generator against real ``vllm serve`` that parts reasoning and calls from the answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest

from inference.integration.http.vllm_server import vllm_server
from inference.integration.thinking_model import make_thinking_model
from promptmill.inference.ports import GenerateRequest
from promptmill.inference.thinking import Thinking
from promptmill_demo.models.demo import DemoModels
from promptmill_schemas import StructuredOutput
from support.http_engines import generating, question

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]

SLOW: dict[str, Any] = {"model": "", "request_timeout_s": 120.0, "patience_s": 120.0}
PARSERS = (
    *("--enable-auto-tool-choice", "--tool-call-parser", "hermes"),
    *("--reasoning-parser", "qwen3"),
)
BUDGET = 8

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "add",
            "parameters": {
                "type": "object",
                "properties": {"a": {"type": "integer"}},
                "required": ["a"],
            },
        },
    }
]
CALL = StructuredOutput(
    regex=r'<tool_call>\n\{"name": "add", "arguments": \{"a": [0-9]\}\}\n</tool_call>'
)
"""What a random model would not write by itself."""


@pytest.fixture(scope="module")
def url(demo_models: DemoModels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("thinking")
    model = make_thinking_model(demo_models.instruct, folder / "thinker")
    with vllm_server(model, folder / "log", *PARSERS) as url:
        yield url


def asked(tools: Any = None, **sampling: Any) -> GenerateRequest:
    """A request whose answer does not end before it has said something."""
    return replace(question(**sampling), tools=tools, extra_body={"min_tokens": 2 * BUDGET})


async def test_reasoning_is_apart_from_a_text_and_from_a_call(url: str) -> None:
    async with generating(url, thinking=Thinking(is_on=True, budget=BUDGET), **SLOW) as engine:
        said = await engine.generate(asked(TOOLS, max_tokens=96))
        call = await engine.generate(asked(TOOLS, max_tokens=96, structured=CALL))
    assert said.text.strip()
    assert said.tool_calls is None
    for answer in (said, call):
        assert answer.reasoning_content
        assert answer.reasoning_content.strip()
        assert answer.reasoning_tokens is not None
        assert 0 < answer.reasoning_tokens <= BUDGET
        assert answer.completion_tokens > BUDGET
    assert call.text == ""
    assert call.finish_reason == "tool_calls"
    assert call.tool_calls is not None
    (function,) = (each.function for each in call.tool_calls)
    assert function.name == "add"
    assert set(orjson.loads(function.arguments)) == {"a"}


async def test_without_thinking_nothing_is_taken_for_reasoning(url: str) -> None:
    async with generating(url, thinking=Thinking(is_on=False), **SLOW) as engine:
        said = await engine.generate(asked(max_tokens=24))
        call = await engine.generate(asked(TOOLS, max_tokens=96, structured=CALL))
        text = await engine.generate(asked(max_tokens=96, structured=CALL))
    assert said.text.strip()
    assert said.reasoning_content is None
    assert call.tool_calls is not None
    assert call.reasoning_content is None
    assert text.tool_calls is None, "calls of tools that the prompt does not have stay text"
    assert text.text.startswith("<tool_call>")


async def test_an_answer_that_only_reasons_is_an_empty_text(url: str) -> None:
    async with generating(url, thinking=Thinking(is_on=True), **SLOW) as engine:
        answer = await engine.generate(asked(max_tokens=2 * BUDGET))
    assert answer.text == ""
    assert answer.finish_reason == "length"
    assert answer.reasoning_content
