"""Answers from a causal language model in vLLM."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from promptmill.core.engines.base import Answer, GenerateRequest, Load
from promptmill.core.engines.vllm_model import VllmModel
from promptmill.core.engines.vllm_options import VllmOptions
from promptmill.core.engines.vllm_sampling import sampling_params
from promptmill.core.errors import Misconfigured, Poison, PromptmillError, Transient
from promptmill_schemas import Generator, Message, Sampling

if TYPE_CHECKING:
    from vllm.lora.request import LoRARequest

CANARY = GenerateRequest(
    "canary", (Message(role="user", content="Are you there?"),), Sampling(max_tokens=2), seed=0
)


class VllmGenerator:
    """A generator; candidates are separate requests, batched by vLLM."""

    def __init__(self, options: VllmOptions) -> None:
        self._model = VllmModel(options, "generate")
        self._info: Generator | None = None
        self._adapters = {
            name: (number, folder)
            for number, (name, folder) in enumerate(options.adapters.items(), start=1)
        }

    @property
    def info(self) -> Generator:
        """What answers."""
        if self._info is None:
            options = self._model.options
            self._info = Generator(
                engine="vllm",
                model=self._model.name,
                revision=self._model.revision,
                tensor_parallel=options.tensor_parallel,
                template_digest=self._model.renderer.template_digest,
            )
        return self._info

    @property
    def load(self) -> Load:
        """What the engine computes now, and what waits in it."""
        return self._model.progress.load

    @property
    def context_tokens(self) -> int:
        """Longest conversation with its answer."""
        return self._model.context_tokens

    @property
    def tokenizer(self) -> str:
        """Folder of the tokenizer, empty for a model of the hub."""
        folder = self._model.options.folder
        return "" if folder is None else str(folder)

    async def start(self) -> None:
        """Load the model; returns when it has answered once, and once with each adapter.

        Raises:
            Misconfigured: the model or an adapter cannot be used.
            EngineDead: the engine ended while it started.
        """
        await self._model.start(lambda: self.generate(CANARY))
        for name in self._adapters:
            await self._try_adapter(name)

    async def generate(self, request: GenerateRequest) -> Answer:
        """One answer; see :class:`~promptmill.core.engines.base.GeneratorEngine`."""
        token_ids = await self._model.renderer.render(request.messages)
        output = await self._model.run(
            request.request_id,
            token_ids,
            sampling_params(request.sampling, request.seed),
            self._lora(request.adapter),
        )
        return _answer(output, len(token_ids))

    async def close(self) -> None:
        """Free the model and its processes."""
        await self._model.close()

    async def _try_adapter(self, name: str) -> None:
        """An adapter whose weights do not fit the model must not end the engine later."""
        try:
            await self.generate(replace(CANARY, request_id=f"canary-{name}", adapter=name))
        except PromptmillError as error:
            folder = self._model.options.adapters[name]
            raise Misconfigured(
                f"adapters.{name} is {folder}: it does not fit {self._model.name} ({error}); "
                "give an adapter that was trained on this model"
            ) from error

    def _lora(self, name: str | None) -> LoRARequest | None:
        if name is None:
            return None
        if name not in self._adapters:
            known = ", ".join(self._adapters) or "none"
            raise Poison(
                f"adapter {name!r} is not loaded in this worker (loaded: {known}); load it with "
                "--adapters, or remove it from the prompt"
            )
        from vllm.lora.request import LoRARequest

        number, folder = self._adapters[name]
        return LoRARequest(name, number, folder)


def _answer(output: Any, prompt_tokens: int) -> Answer:
    drawn = output.outputs[0]
    if drawn.finish_reason not in {"stop", "length"}:
        raise Transient(f"the engine stopped with finish reason {drawn.finish_reason!r}")
    return Answer(
        text=drawn.text,
        finish_reason=drawn.finish_reason,
        prompt_tokens=prompt_tokens,
        completion_tokens=len(drawn.token_ids),
        logprob=drawn.cumulative_logprob,
    )
