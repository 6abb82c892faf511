"""LoRA adapters in vLLM's configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from promptmill.core.engines.adapter_shapes import check_shapes
from promptmill.core.engines.adapters import highest_rank
from promptmill.core.engines.vllm_options import VllmOptions
from promptmill.core.errors import Misconfigured

if TYPE_CHECKING:
    from vllm.config import VllmConfig

ADAPTERS_TOGETHER = 8
"""Adapters whose requests are computed in one batch on a GPU; each takes memory of its own."""


def adapter_arguments(options: VllmOptions, on_cpu: bool) -> dict[str, Any]:
    """All adapters stay loaded; room for the highest of their ranks, as vLLM counts them.

    On a CPU there is one slot more than adapters, and it stays empty: vLLM computes a request
    without an adapter with the last slot there (index -1), and so with whatever adapter is in it.
    """
    from vllm.config.lora import MaxLoRARanks

    needed, offered = highest_rank(options.adapters.values()), get_args(MaxLoRARanks)
    if needed > max(offered):
        raise Misconfigured(
            f"an adapter has rank {needed}, but vLLM supports ranks up to {max(offered)}; merge "
            "it into the model or train it with a lower rank"
        )
    count = len(options.adapters)
    slots = count + 1 if on_cpu else min(count, ADAPTERS_TOGETHER)
    return {
        "enable_lora": True,
        "max_loras": slots,
        "max_cpu_loras": max(slots, count),
        "max_lora_rank": min(rank for rank in offered if rank >= needed),
    }


def check_adapters(options: VllmOptions, config: VllmConfig) -> None:
    """Refuse at the start what vLLM would refuse at an adapter's first request."""
    from vllm.lora.peft_helper import PEFTHelper

    for name, folder in options.adapters.items():
        if options.folder is not None:
            check_shapes(name, Path(folder), options.folder)
        try:
            PEFTHelper.from_local_dir(folder, None).validate_legal(config.lora_config)
        except (ValueError, TypeError) as error:
            raise Misconfigured(
                f"adapters.{name} is {folder}: vLLM cannot load it: {error}"
            ) from error
