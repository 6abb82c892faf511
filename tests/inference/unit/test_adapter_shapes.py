"""An adapter of another model is refused by the shapes of its matrices."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from promptmill.inference.adapters import WEIGHTS, check_shapes
from promptmill.runtime.errors import Misconfigured

Shapes = dict[str, tuple[int, ...]]

MODEL: Shapes = {
    "model.layers.0.self_attn.q_proj.weight": (64, 32),
    "model.embed_tokens.weight": (1000, 32),
    "model.norm.weight": (32,),
}


def write(file: Path, shapes: Shapes) -> None:
    file.parent.mkdir(exist_ok=True)
    tensors = {name: {"dtype": "F32", "shape": shape} for name, shape in shapes.items()}
    header = json.dumps({"__metadata__": {"format": "pt"}, **tensors}).encode()
    file.write_bytes(struct.pack("<Q", len(header)) + header)


def check(tmp_path: Path, adapter: Shapes, model: Shapes = MODEL) -> None:
    for number, (name, shape) in enumerate(model.items()):
        write(tmp_path / "model" / f"model-{number}.safetensors", {name: shape})
    write(tmp_path / "adapter" / WEIGHTS, adapter)
    check_shapes("law", tmp_path / "adapter", tmp_path / "model")


def q_proj(a: tuple[int, int] = (4, 32), b: tuple[int, int] = (64, 4)) -> Shapes:
    base = "base_model.model.model.layers.0.self_attn.q_proj"
    return {f"{base}.lora_A.weight": a, f"{base}.lora_B.weight": b}


def test_an_adapter_of_this_model_passes_whatever_else_is_in_it(tmp_path: Path) -> None:
    fused = {"base_model.model.model.layers.0.mlp.gate_up_proj.lora_A.weight": (4, 99)}
    check(tmp_path, q_proj() | fused | {"base_model.model.score.weight": (5, 32)})


@pytest.mark.parametrize(
    ("adapter", "told"),
    [
        (q_proj(a=(4, 16)), r"q_proj\.lora_A has width 16, the model's is 32"),
        (q_proj(b=(32, 4)), r"q_proj\.lora_B has width 32, the model's is 64"),
        ({"base_model.model.other.lora_A.weight": (4, 32)}, "none of its matrices matches"),
    ],
)
def test_an_adapter_of_another_model_is_refused(adapter: Shapes, told: str, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=rf"adapters\.law is .*{told}.* trained on"):
        check(tmp_path, adapter)


def test_a_model_whose_weights_are_not_here_is_left_to_vllm(tmp_path: Path) -> None:
    check(tmp_path, q_proj(a=(4, 16)), model={})


def test_weights_in_another_format_are_refused(tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / WEIGHTS).write_bytes(b"PK\x03\x04")
    with pytest.raises(Misconfigured, match="is not a valid safetensors file"):
        check_shapes("law", tmp_path / "adapter", tmp_path)
