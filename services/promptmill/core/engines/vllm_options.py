"""What a vLLM engine is told, before any of it is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Runner = Literal["generate", "pooling"]


@dataclass(frozen=True, slots=True)
class VllmOptions:
    """One model in one tensor-parallel group.

    Attributes:
        model: folder in Hugging Face format, or a name at the model hub.
        revision: commit of a hub model.
        tensor_parallel: ranks that share the model, each its own process when above 1.
        watchdog_s: work outstanding and nothing computed for so long means that it hangs.
        dtype: of weights and activations; ``auto`` takes the checkpoint's.
        context_tokens: limit below the model's own; ``None`` is the model's own.
        sequences: conversations computed together at most.
        kv_cache_bytes: memory for attention states of each rank; ``None`` is
            :func:`~promptmill.core.engines.vllm_config.kv_cache_bytes` on a CPU and nine
            tenths of the memory on a GPU.
        threads: of each rank on a CPU; ``None`` divides half the cores among the ranks, since
            generator and grader usually share a machine.
        own_process: whether the engine runs outside this process; ``None`` keeps a single CPU
            rank inside, which starts in a tenth of the time.
        adapters: LoRA adapters that prompts may name, with their folders.
    """

    model: str
    revision: str | None = None
    tensor_parallel: int = 1
    watchdog_s: float = 120.0
    dtype: str = "auto"
    context_tokens: int | None = None
    sequences: int = 256
    kv_cache_bytes: int | None = None
    threads: int | None = None
    own_process: bool | None = None
    adapters: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path | None:
        """The model's folder, ``None`` for a name at the hub."""
        path = Path(self.model).expanduser()
        return path.resolve() if path.is_dir() else None
