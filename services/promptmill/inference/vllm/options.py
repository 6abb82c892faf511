"""Options of a vLLM engine; this module does not import vLLM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from promptmill.inference.reasoning import KNOWN, Tags
from promptmill.inference.thinking import Thinking

Runner = Literal["generate", "pooling"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True)
class Hosts:
    """The hosts of one group, with vLLM's own names.

    Attributes:
        nnodes: number of hosts.
        node_rank: number of this host; the worker on host 0 takes the records.
        master_addr: address of host 0, as the other hosts reach it.
        master_port: a free port on host 0.
    """

    nnodes: int = 1
    node_rank: int = 0
    master_addr: str = "127.0.0.1"
    master_port: int = 29501


@dataclass(frozen=True, slots=True)
class VllmOptions:
    """Options of one model in one group of ranks.

    Attributes:
        model: folder in Hugging Face format, or a name on the model hub.
        revision: commit of a model on the hub; ``None`` takes the latest.
        tensor_parallel: number of ranks that share each layer; each is a process if above 1.
        pipeline_parallel: number of pipeline stages that share the layers.
        hosts: the hosts on which the ranks run.
        watchdog_s: seconds without progress before the engine is considered hung.
        dtype: data type of weights and activations; ``auto`` takes the checkpoint's.
        context_tokens: maximum tokens of a conversation; ``None`` takes the model's own limit.
        sequences: maximum number of conversations in one batch.
        kv_cache_bytes: size of each rank's key-value cache; ``None`` takes
            :func:`~promptmill.inference.vllm.config.kv_cache_bytes` on a CPU, and the rest of
            ``gpu_memory_share`` on a GPU.
        gpu_memory_share: fraction of each GPU's memory for weights and key-value cache; ``None``
            takes vLLM's default.
        threads: threads of each rank on a CPU; ``None`` divides half the cores among the ranks,
            because a generator and a grader usually share a machine.
        own_process: whether the engine runs outside this process; ``None`` keeps a single CPU
            rank inside, which starts in a tenth of the time.
        adapters: folders of the LoRA adapters that prompts may select, by name.
        extra: further arguments of vLLM's engine, by vLLM's names.
        thinking: whether a generator is to think before it answers; a budget needs the engine's
            argument ``reasoning_parser``.
        tool_call_parser: vLLM's name of the parser that takes calls of tools out of answers to
            prompts with tools; empty leaves them in the text.
        reasoning_tags: the tags of inline reasoning, in which no calls are looked for.
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
    thinking: Thinking | None = None
    tool_call_parser: str = ""
    reasoning_tags: Sequence[Tags] = KNOWN

    @property
    def folder(self) -> Path | None:
        """The model's folder; ``None`` for a name on the hub."""
        path = Path(self.model).expanduser()
        return path.resolve() if path.is_dir() else None

    @property
    def ranks(self) -> int:
        """The number of ranks on all hosts."""
        return self.tensor_parallel * self.pipeline_parallel

    @property
    def ranks_here(self) -> int:
        """The number of ranks on this host."""
        return self.ranks // self.hosts.nnodes
