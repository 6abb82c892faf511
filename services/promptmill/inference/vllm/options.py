"""What a vLLM engine is told, before any of it is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Runner = Literal["generate", "pooling"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True)
class Hosts:
    """The hosts that one group spans; the names are vLLM's own.

    Attributes:
        nnodes: how many.
        node_rank: which of them this is; the worker that takes records is on number 0.
        master_addr: of number 0, as the others reach it.
        master_port: a free port there.
    """

    nnodes: int = 1
    node_rank: int = 0
    master_addr: str = "127.0.0.1"
    master_port: int = 29501


@dataclass(frozen=True, slots=True)
class VllmOptions:
    """One model in one group of ranks.

    Attributes:
        model: folder in Hugging Face format, or a name at the model hub.
        revision: commit of a hub model.
        tensor_parallel: ranks that share each layer, each its own process when above 1.
        pipeline_parallel: stages of such ranks that share the layers among them.
        hosts: where the ranks run.
        watchdog_s: work outstanding and nothing computed for so long means that it hangs.
        dtype: of weights and activations; ``auto`` takes the checkpoint's.
        context_tokens: limit below the model's own; ``None`` is the model's own.
        sequences: conversations computed together at most.
        kv_cache_bytes: memory for attention states of each rank; ``None`` is
            :func:`~promptmill.inference.vllm.config.kv_cache_bytes` on a CPU and what
            ``gpu_memory_share`` leaves on a GPU.
        gpu_memory_share: part of each GPU's memory for weights and attention states; ``None``
            is vLLM's own.
        threads: of each rank on a CPU; ``None`` divides half the cores among the ranks, since
            generator and grader usually share a machine.
        own_process: whether the engine runs outside this process; ``None`` keeps a single CPU
            rank inside, which starts in a tenth of the time.
        adapters: LoRA adapters that prompts may name, with their folders.
        extra: further arguments of vLLM's engine, by vLLM's names.
    """

    model: str
    revision: str | None = None
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    hosts: Hosts = Hosts()
    watchdog_s: float = 120.0
    dtype: Dtype = "auto"
    context_tokens: int | None = None
    sequences: int = 256
    kv_cache_bytes: int | None = None
    gpu_memory_share: float | None = None
    threads: int | None = None
    own_process: bool | None = None
    adapters: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path | None:
        """The model's folder, ``None`` for a name at the hub."""
        path = Path(self.model).expanduser()
        return path.resolve() if path.is_dir() else None

    @property
    def ranks(self) -> int:
        """Processes that compute, on all hosts together."""
        return self.tensor_parallel * self.pipeline_parallel

    @property
    def ranks_here(self) -> int:
        """Those of them on this host."""
        return self.ranks // self.hosts.nnodes
