"""The configuration of vLLM's engine, built from promptmill's options."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from promptmill.inference.adapters import check_shapes, highest_rank
from promptmill.inference.vllm.environment import runs_on_cpu
from promptmill.inference.vllm.options import Runner, VllmOptions
from promptmill.inference.vllm.reserved_arguments import ON_CPU, refuse_reserved, refuse_unknown
from promptmill.runtime.errors import Misconfigured

if TYPE_CHECKING:
    from vllm.config import ModelConfig, VllmConfig

CPU_KV_CACHE_TOKENS = 65_536
"""Minimum size of a CPU rank's key-value cache, in tokens."""

MAX_ADAPTERS_PER_BATCH = 8
"""Maximum number of adapters in one batch on a GPU; each takes memory of its own."""


def make_config(options: VllmOptions, runner: Runner) -> VllmConfig:
    """Create vLLM's configuration of this model.

    Raises:
        Misconfigured: the model or an option cannot be used; the message says why.
    """
    from vllm.engine.arg_utils import AsyncEngineArgs

    on_cpu = runs_on_cpu()
    refuse_unknown(options.extra, [field.name for field in fields(AsyncEngineArgs)])
    if on_cpu:
        refuse_reserved(options.extra, ON_CPU)
        _inspect_in_process(options)
    follows = options.hosts.node_rank > 0
    try:
        arguments = AsyncEngineArgs(**_arguments(options, runner, on_cpu))
        config = arguments.create_engine_config(headless=follows)
        check_adapters(options, config)
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        raise Misconfigured(f"vLLM cannot load {options.model!r}: {error}") from error
    if on_cpu:
        wanted = options.kv_cache_bytes
        config.cache_config.kv_cache_memory_bytes = wanted or kv_cache_bytes(config)
    return config


def _arguments(options: VllmOptions, runner: Runner, on_cpu: bool) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "model": str(options.folder or options.model),
        "revision": options.revision,
        "runner": runner,
        "dtype": options.dtype,
        "load_format": "safetensors",
        "trust_remote_code": False,
        "tensor_parallel_size": options.tensor_parallel,
        "pipeline_parallel_size": options.pipeline_parallel,
        "max_model_len": options.context_tokens,
        "max_num_seqs": options.sequences,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
    }
    if runner == "generate":
        arguments["enable_prefix_caching"] = True
    if options.hosts.nnodes > 1:
        arguments |= asdict(options.hosts)
    if options.adapters:
        arguments |= adapter_arguments(options, on_cpu)
    if options.gpu_memory_share is not None:
        arguments["gpu_memory_utilization"] = options.gpu_memory_share
    if on_cpu:
        # Eager mode needs no compiler. A seeded request whose prefill is chunked crashes the
        # engine core on a CPU ("CPU Generator does not use offset").
        arguments |= {"enforce_eager": True, "enable_chunked_prefill": False}
    elif options.kv_cache_bytes is not None:
        arguments["kv_cache_memory_bytes"] = options.kv_cache_bytes
    return {**arguments, **options.extra}


def adapter_arguments(options: VllmOptions, on_cpu: bool) -> dict[str, Any]:
    """vLLM's arguments that keep all adapters loaded, with room for the highest of their ranks.

    On a CPU there is one slot more than there are adapters. vLLM computes a request without an
    adapter with the last slot (index -1), which therefore has to stay empty.
    """
    from vllm.config.lora import MaxLoRARanks

    needed, offered = highest_rank(options.adapters.values()), get_args(MaxLoRARanks)
    if needed > max(offered):
        raise Misconfigured(
            f"an adapter has rank {needed}, but vLLM supports ranks up to {max(offered)}; merge "
            "it into the model or train it with a lower rank"
        )
    count = len(options.adapters)
    slots = count + 1 if on_cpu else min(count, MAX_ADAPTERS_PER_BATCH)
    return {
        "enable_lora": True,
        "max_loras": slots,
        "max_cpu_loras": max(slots, count),
        "max_lora_rank": min(rank for rank in offered if rank >= needed),
    }


def check_adapters(options: VllmOptions, config: VllmConfig) -> None:
    """Refuse adapters at start-up that vLLM would refuse at their first request."""
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


def kv_cache_bytes(config: VllmConfig) -> int:
    """Size of one rank's key-value cache on a CPU, in bytes.

    It holds :data:`CPU_KV_CACHE_TOKENS`, but at least two conversations of the maximum length.
    """
    model = config.model_config
    tokens = max(CPU_KV_CACHE_TOKENS, 2 * int(model.max_model_len))
    return tokens * _bytes_per_token(model, config)


def _bytes_per_token(model: ModelConfig, config: VllmConfig) -> int:
    parallel = config.parallel_config
    heads = model.get_num_kv_heads(parallel) * model.get_num_layers(parallel)
    return int(2 * heads * model.get_head_size() * model.dtype.itemsize)


def _inspect_in_process(options: VllmOptions) -> None:
    """Register the model's class, so that vLLM does not start a process to inspect it.

    That process imports all of vLLM again, which takes 10 s. On a GPU it is needed, because it
    keeps CUDA out of this process.
    """
    from vllm import ModelRegistry

    for name in _architectures(options):
        known = ModelRegistry.models.get(name)
        if known is not None:
            ModelRegistry.register_model(name, known.load_model_cls())


def _architectures(options: VllmOptions) -> list[str]:
    """The class names in the model's config, and the causal models that classifiers build on."""
    path = None if options.folder is None else options.folder / "config.json"
    if path is None or not path.is_file():
        return []
    try:
        names = json.loads(path.read_bytes()).get("architectures") or []
    except (ValueError, AttributeError) as error:
        raise Misconfigured(f"{path} is not a valid model configuration: {error}") from error
    suffix = "ForSequenceClassification"
    return [*names, *(name.replace(suffix, "ForCausalLM") for name in names if suffix in name)]
