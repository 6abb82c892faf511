"""LoRA adapters for the demo's untrained generator, in peft's format, made without peft."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from promptmill_demo.models.instruct import HIDDEN

LAYERS = 4
WIDTHS = {"q_proj": 4 * 64, "k_proj": 2 * 64, "v_proj": 2 * 64}
"""Outputs of the matrices that are adapted; all of them take the hidden state."""


def write_adapter(
    folder: Path, *, rank: int = 4, seed: int = 1, hidden: int = HIDDEN, **config: Any
) -> Path:
    """An adapter that changes what the model says.

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
