"""Settings of a worker whose model runs in vLLM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from promptmill.inference.settings import ModelSettings, read_values
from promptmill.inference.thinking import read_thinking
from promptmill.inference.vllm.options import Dtype, Hosts, VllmOptions
from promptmill.inference.vllm.reserved_arguments import refuse_reserved
from promptmill.runtime.errors import Misconfigured


class VllmSettings(ModelSettings):
    """The settings of ``--engine vllm``."""

    revision: str = Field(default="", description="vllm: revision (commit) of a model at the hub")
    tensor_parallel: int = Field(
        default=1, ge=1, description="vllm: number of ranks that share each layer"
    )
    pipeline_parallel: int = Field(
        default=1, ge=1, description="vllm: number of pipeline stages that share the layers"
    )
    nnodes: int = Field(
        default=1, ge=1, description="vllm: number of hosts of one group; one worker runs on each"
    )
    node_rank: int = Field(
        default=0, ge=0, description="vllm: number of this host; host 0 takes the records"
    )
    master_addr: str = Field(default="", description="vllm: address of host number 0")
    master_port: int = Field(
        default=29501, ge=1, le=65535, description="vllm: a free port on host number 0"
    )
    dtype: Dtype = Field(
        default="auto", description="vllm: data type of the weights; auto takes the checkpoint's"
    )
    context_tokens: int | None = Field(
        default=None,
        ge=2,
        description="vllm: longest conversation in tokens; the model's own limit if unset",
    )
    sequences: int = Field(
        default=256, ge=1, description="vllm: maximum number of conversations in one batch"
    )
    kv_cache_bytes: int | None = Field(
        default=None, ge=1, description="vllm: memory of each rank for the key-value cache"
    )
    gpu_memory_share: float | None = Field(
        default=None, gt=0, le=1, description="vllm: fraction of each GPU's memory to use"
    )
    cpu_threads: int | None = Field(
        default=None,
        ge=1,
        description="vllm: threads of each rank on a CPU; half the cores if unset",
    )
    vllm: Annotated[dict[str, Any], NoDecode, BeforeValidator(read_values)] = Field(
        default_factory=dict,
        repr=False,
        description="vllm: any other engine argument as NAME=VALUE, with the value in JSON",
    )
    watchdog_s: float = Field(
        default=120.0,
        gt=0,
        description="vllm: seconds without progress before the engine is considered hung",
    )

    @property
    def follows(self) -> bool:
        """Whether this host only runs ranks for the worker on host number 0."""
        return self.engine == "vllm" and self.node_rank > 0

    def vllm_options(self, adapters: Mapping[str, str] | None = None) -> VllmOptions:
        """The options of the vLLM engine.

        Args:
            adapters: folders of the LoRA adapters by name.

        Raises:
            Misconfigured: settings contradict each other.
        """
        refuse_reserved(self.vllm)
        if self.kv_cache_bytes is not None and self.gpu_memory_share is not None:
            raise Misconfigured(
                f"kv_cache_bytes is {self.kv_cache_bytes} and gpu_memory_share is "
                f"{self.gpu_memory_share:g}: both limit the same memory; set only one of them"
            )
        return VllmOptions(
            self.model,
            revision=self.revision or None,
            tensor_parallel=self.tensor_parallel,
            pipeline_parallel=self.pipeline_parallel,
            hosts=self._hosts(),
            watchdog_s=self.watchdog_s,
            dtype=self.dtype,
            context_tokens=self.context_tokens,
            sequences=self.sequences,
            kv_cache_bytes=self.kv_cache_bytes,
            gpu_memory_share=self.gpu_memory_share,
            threads=self.cpu_threads,
            adapters=adapters or {},
            extra=self.vllm,
            thinking=read_thinking(self.thinking),
        )

    def _hosts(self) -> Hosts:
        ranks = self.tensor_parallel * self.pipeline_parallel
        if self.node_rank >= self.nnodes:
            raise Misconfigured(
                f"node_rank is {self.node_rank} and nnodes is {self.nnodes}: the hosts of a group "
                f"are numbered 0 to {self.nnodes - 1}; correct one of the settings"
            )
        if self.nnodes == 1:
            return Hosts()
        if not self.master_addr:
            raise Misconfigured(
                f"nnodes is {self.nnodes} and master_addr is empty: give --master-addr HOST, the "
                "address of host number 0 as the others reach it"
            )
        if ranks % self.nnodes:
            raise Misconfigured(
                f"tensor_parallel x pipeline_parallel is {ranks} and nnodes is {self.nnodes}: "
                "every host needs the same number of ranks; change one of the settings"
            )
        return Hosts(self.nnodes, self.node_rank, self.master_addr, self.master_port)
