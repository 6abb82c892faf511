"""LoRA adapters in real vLLM: chosen by name, and without effect on those who choose none."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from promptmill.inference.adapters import check_adapters
from promptmill.inference.ports import GenerateRequest
from promptmill.inference.vllm.generate import VllmGenerator
from promptmill.inference.vllm.options import VllmOptions
from promptmill.runtime.errors import Misconfigured, Poison
from promptmill_demo.models.demo import DemoModels
from promptmill_demo.models.instruct import HIDDEN
from promptmill_schemas import Message, Sampling
from support.engines import started

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("ignore")]

QUESTIONS = ("Tell me of the sea.", "Go on.", "What is 7 times 8?")
LAYERS = 4
WIDTHS = {"q_proj": 4 * 64, "k_proj": 2 * 64, "v_proj": 2 * 64}
"""Outputs of the matrices that are adapted; all of them take the hidden state."""


def write_adapter(
    folder: Path, *, rank: int = 4, seed: int = 1, hidden: int = HIDDEN, **config: Any
) -> Path:
    """A LoRA adapter in peft's format, made without peft, that changes what the model says.

    Args:
        hidden: width of the model that it was made for.
        config: entries of its config that are other than usual.
    """
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    draws = torch.Generator().manual_seed(seed)
    tensors = {}
    for layer in range(LAYERS):
        for name, width in WIDTHS.items():
            base = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            tensors[f"{base}.lora_A.weight"] = torch.randn(rank, hidden, generator=draws)
            tensors[f"{base}.lora_B.weight"] = torch.randn(width, rank, generator=draws)
    save_file(tensors, folder / "adapter_model.safetensors")
    plain = {"peft_type": "LORA", "r": rank, "lora_alpha": rank, "target_modules": [*WIDTHS]}
    (folder / "adapter_config.json").write_text(json.dumps(plain | config))
    return folder


def with_adapters(models: DemoModels, **adapters: Path) -> VllmGenerator:
    folders = check_adapters({name: str(folder) for name, folder in adapters.items()})
    return VllmGenerator(VllmOptions(str(models.instruct), dtype="float32", adapters=folders))


async def answers(engine: VllmGenerator, adapter: str | None = None) -> list[str]:
    """Greedy answers, so that only the weights decide."""
    sampling = Sampling(temperature=0.0, max_tokens=24, repetition_penalty=1.5)
    requests = [
        GenerateRequest(text, (Message(role="user", content=text),), sampling, 1, adapter)
        for text in QUESTIONS
    ]
    return [answer.text for answer in await asyncio.gather(*map(engine.generate, requests))]


async def test_an_adapter_changes_the_answers_of_those_who_name_it_and_no_others(
    demo_models: DemoModels, tmp_path: Path
) -> None:
    legal = write_adapter(tmp_path / "legal", rank=4, seed=1)
    code = write_adapter(tmp_path / "code", rank=9, seed=2)
    async with started(with_adapters(demo_models)) as engine:
        plain = await answers(engine)
    async with started(with_adapters(demo_models, legal=legal, code=code)) as engine:
        together = await asyncio.gather(
            answers(engine), answers(engine, "legal"), answers(engine, "code")
        )
        assert engine._model.core.config.lora_config.max_lora_rank == 16
        with pytest.raises(
            Poison, match=r"'pirate' is not loaded in this worker \(loaded: legal, code\)"
        ):
            await answers(engine, "pirate")
    assert together[0] == plain
    assert len({*map(tuple, together)}) == 3


async def test_an_adapter_of_another_model_stops_the_start(
    demo_models: DemoModels, tmp_path: Path
) -> None:
    other = write_adapter(tmp_path / "other", hidden=96)
    with pytest.raises(
        Misconfigured, match=r"adapters\.other is .*has width 96, the model's is 192"
    ):
        async with started(with_adapters(demo_models, other=other)):
            pass


async def test_an_adapter_that_vllm_cannot_compute_stops_the_start(
    demo_models: DemoModels, tmp_path: Path
) -> None:
    dora = write_adapter(tmp_path / "dora", use_dora=True)
    with pytest.raises(Misconfigured, match=r"adapters\.dora is .*DoRA"):
        async with started(with_adapters(demo_models, dora=dora)):
            pass
