"""Arguments of vLLM's engine that users cannot set, with the alternative for each."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from promptmill.runtime.errors import Misconfigured

_SAFETY = "promptmill loads only safetensors and never runs code that comes with a model"
_ADAPTERS = "use --adapters NAME=FOLDER"
_MORE_WORKERS = (
    "start more workers instead: each has one engine, and Kafka divides the work among them"
)
_SERVER = "promptmill drives the engine itself and passes it token ids"

RESERVED = {
    "model": "use --model",
    "revision": "use --revision",
    "tensor_parallel_size": "use --tensor-parallel",
    "pipeline_parallel_size": "use --pipeline-parallel",
    "nnodes": "use --nnodes",
    "node_rank": "use --node-rank",
    "master_addr": "use --master-addr",
    "master_port": "use --master-port",
    "dtype": "use --dtype",
    "max_model_len": "use --context-tokens",
    "max_num_seqs": "use --sequences",
    "kv_cache_memory_bytes": "use --kv-cache-bytes",
    "gpu_memory_utilization": "use --gpu-memory-share",
    "enable_lora": _ADAPTERS,
    "max_loras": _ADAPTERS,
    "max_lora_rank": _ADAPTERS,
    "max_cpu_loras": _ADAPTERS,
    "default_mm_loras": _ADAPTERS,
    "data_parallel_size": _MORE_WORKERS,
    "trust_remote_code": _SAFETY,
    "code_revision": _SAFETY,
    "load_format": _SAFETY,
    "model_class_overrides": _SAFETY,
    "runner": "instruct workers generate and reward workers classify",
    "convert": "instruct workers generate and reward workers classify",
    "skip_tokenizer_init": _SERVER,
    "disable_log_stats": _SERVER,
    "use_tqdm_on_load": _SERVER,
    "max_num_queued_reqs": "use --slots",
    "max_num_queued_tokens": "use --slots",
}

ON_CPU = {
    "enforce_eager": "compilation is disabled on a CPU",
    "enable_chunked_prefill": (
        "on a CPU a seeded request whose prefill is chunked crashes the engine"
    ),
}


def refuse_reserved(extra: Mapping[str, Any], reserved: Mapping[str, str] = RESERVED) -> None:
    """Raise ``Misconfigured`` for the first argument that promptmill sets itself."""
    for name, value in extra.items():
        if name in reserved:
            raise Misconfigured(
                f"vllm.{name} is {value!r}: this argument cannot be set; {reserved[name]}"
            )
        if name.startswith("data_parallel"):
            raise Misconfigured(
                f"vllm.{name} is {value!r}: this argument cannot be set; {_MORE_WORKERS}"
            )


def refuse_unknown(extra: Mapping[str, Any], known: Collection[str]) -> None:
    """Raise ``Misconfigured`` for the first argument that the installed vLLM does not have."""
    for name, value in extra.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 3) or ["see `vllm serve --help=all`"]
            raise Misconfigured(
                f"vllm.{name} is {value!r}: the installed vLLM has no such engine argument; "
                f"similar ones are: {', '.join(near)}"
            )
