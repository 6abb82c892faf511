"""Calls of tools in the answers of real vLLM inside the process, read by vLLM's own parsers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from inference.integration.thinking_model import make_thinking_model
from promptmill.inference.ports import Answer, GenerateRequest
from promptmill.inference.vllm.generate import VllmGenerator
from promptmill.inference.vllm.options import VllmOptions
from promptmill.inference.vllm.tool_calls import ToolCalls
from promptmill.runtime.errors import Misconfigured
from promptmill_demo.models.demo import DemoModels
from promptmill_schemas import StructuredOutput
from support.engines import started
from support.http_engines import question

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.asyncio(loop_scope="module"),
]

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "add",
            "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
        },
    }
]
CALL = r'<tool_call>\n\{"name": "add", "arguments": \{"a": [0-9]\}\}\n</tool_call>'
ADD = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(
    demo_models: DemoModels, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[VllmGenerator]:
    """A random model that a regular expression makes call a tool."""
    folder = tmp_path_factory.mktemp("caller")
    model = make_thinking_model(demo_models.instruct, folder / "model")
    options = VllmOptions(str(model), dtype="float32", tool_call_parser="hermes")
    async with started(VllmGenerator(options)) as engine:
        yield engine


def asked(regex: str, tools: Any = None) -> GenerateRequest:
    """A request whose answer has this form."""
    request = question(max_tokens=192, structured=StructuredOutput(regex=regex))
    return replace(request, tools=tools, chat_template_kwargs={"enable_thinking": False})


async def test_calls_are_apart_from_the_text_of_answers_to_prompts_with_tools(
    engine: VllmGenerator,
) -> None:
    called, said, text, together = await asyncio.gather(
        engine.generate(asked(CALL, TOOLS)),
        engine.generate(asked("Two\\.", TOOLS)),
        engine.generate(asked(CALL)),
        engine.generate(asked(f"I add\\. {CALL}\\n{CALL}", TOOLS)),
    )
    assert (called.text, called.finish_reason) == ("", "tool_calls")
    assert called.tool_calls is not None
    (call,) = called.tool_calls
    assert call.function.name == "add"
    assert set(orjson.loads(call.function.arguments)) == {"a"}
    assert (said.text, said.finish_reason, said.tool_calls) == ("Two.", "stop", None)
    assert text.text.startswith("<tool_call>")
    assert text.tool_calls is None
    assert together.text == "I add."
    assert together.tool_calls is not None
    assert len(together.tool_calls) == 2


def answer(text: str, finish_reason: str = "stop") -> Answer:
    return Answer(text, finish_reason, prompt_tokens=5, completion_tokens=7)


async def test_calls_within_the_reasoning_are_not_calls(engine: VllmGenerator) -> None:
    calls = engine._calls
    assert calls is not None
    thought = f"<think>Maybe {ADD}?</think>\n"
    only_thought = calls.taken_out_of(answer(f"{thought}Two."), TOOLS)
    assert only_thought == answer(f"{thought}Two.")
    both = calls.taken_out_of(answer(f"{thought}{ADD}"), TOOLS)
    assert both.tool_calls is not None
    assert len(both.tool_calls) == 1
    assert both.reasoning_content == f"Maybe {ADD}?"
    assert both.text == ""


@pytest.mark.parametrize(
    "text", ["<tool_call>", '<tool_call>\n{"name": 1}\n</tool_call>', ADD * 129, "<tool_call>{"]
)
async def test_an_answer_with_unreadable_calls_keeps_its_text(
    engine: VllmGenerator, text: str
) -> None:
    calls = engine._calls
    assert calls is not None
    assert calls.taken_out_of(answer(text, "length"), TOOLS) == answer(text, "length")


async def test_a_parser_that_does_not_fit_the_model_is_refused(engine: VllmGenerator) -> None:
    with pytest.raises(Misconfigured, match="tool_call_parser is 'mistral', which does not fit"):
        ToolCalls("mistral", engine._model.core.tokenizer)


async def test_an_unknown_parser_is_refused_before_the_model_is_loaded(tmp_path: Path) -> None:
    options = VllmOptions(str(tmp_path), tool_call_parser="hermess")
    with pytest.raises(Misconfigured, match=r"'hermess', which vLLM does not have; .* hermes,"):
        async with started(VllmGenerator(options)):
            pass
