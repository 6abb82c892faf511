"""A base model, which has no chat template, continues plain text."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from promptmill.inference.ports import GenerateRequest
from promptmill.inference.vllm.generate import VllmGenerator
from promptmill.inference.vllm.options import VllmOptions
from promptmill_demo.models.demo import DemoModels
from promptmill_schemas import Message, Sampling
from support.engines import started

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("ignore")]


async def test_a_base_model_is_given_the_text_and_nothing_else(
    demo_models: DemoModels, tmp_path: Path
) -> None:
    folder = shutil.copytree(demo_models.instruct, tmp_path / "base")
    (folder / "chat_template.jinja").unlink()
    messages = (Message(role="user", content="one two three"),)
    async with started(VllmGenerator(VllmOptions(str(folder), dtype="float32"))) as engine:
        answer = await engine.generate(GenerateRequest("r", messages, Sampling(max_tokens=8), 1))
        plain = engine._model.core.tokenizer("one two three")["input_ids"]
    assert engine.info.template_digest == ""
    assert answer.prompt_tokens == len(plain)
    assert answer.completion_tokens > 0
