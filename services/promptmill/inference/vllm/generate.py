"""A generator in vLLM: a causal language model."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from promptmill.inference.ports import Answer, GenerateRequest, Load
from promptmill.inference.vllm.model import VllmModel
from promptmill.inference.vllm.options import VllmOptions
from promptmill.inference.vllm.tool_calls import ToolCalls, parser_of
from promptmill.runtime.errors import Misconfigured, Poison, PromptmillError, Transient
from promptmill_schemas import Generator, Message, Sampling, StructuredOutput

if TYPE_CHECKING:
    from vllm.lora.request import LoRARequest
    from vllm.sampling_params import SamplingParams, StructuredOutputsParams

CANARY = GenerateRequest(
    "canary", (Message(role="user", content="Are you there?"),), Sampling(max_tokens=2), seed=0
)


class VllmGenerator:
    """A generator in vLLM. Each candidate is a separate request, and vLLM batches them."""

    def __init__(self, options: VllmOptions) -> None:
        self._model = VllmModel(options, "generate")
        self._info: Generator | None = None
        self._thinking_tokens = options.thinking.budget if options.thinking else None
        self._calls: ToolCalls | None = None
        self._adapters = {
            name: (number, folder)
            for number, (name, folder) in enumerate(options.adapters.items(), start=1)
        }

    @property
    def info(self) -> Generator:
        """The generator's identity."""
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
        """The requests that the engine is computing, and those that wait in it."""
        return self._model.progress.load

    @property
    def context_tokens(self) -> int:
        """Maximum tokens of a conversation with its answer."""
        return self._model.context_tokens

    @property
    def tokenizer(self) -> str:
        """Folder of the tokenizer; empty for a model of the hub."""
        folder = self._model.options.folder
        return "" if folder is None else str(folder)

    async def start(self) -> None:
        """Load the model, and return when it has answered the canary, also with each adapter.

        Raises:
            Misconfigured: the model, an adapter or the parser of calls cannot be used.
            EngineDead: the engine exited during its start.
        """
        options = self._model.options
        if options.tool_call_parser:
            await asyncio.to_thread(parser_of, options.tool_call_parser)  # before the model loads
        await self._model.start(lambda: self.generate(CANARY))
        if options.tool_call_parser:
            self._calls = ToolCalls(
                options.tool_call_parser, self._model.core.tokenizer, options.reasoning_tags
            )
        for name in self._adapters:
            await self._try_adapter(name)

    async def generate(self, request: GenerateRequest) -> Answer:
        """Generate one answer; see :class:`~promptmill.inference.ports.GeneratorEngine`."""
        if request.extra_body:
            raise Poison(
                f"extra_body has {', '.join(sorted(request.extra_body))}, which only servers "
                "understand: remove it from the prompt, or use --engine openai"
            )
        token_ids = await self._model.renderer.render(
            request.messages, tools=request.tools, arguments=request.chat_template_kwargs
        )
        calls = self._calls if request.tools else None
        params = sampling_params(request.sampling, request.seed, self._thinking_tokens)
        if calls is not None and request.tools and calls.need_special_tokens(request.tools):
            params.skip_special_tokens = False
        lora = self._lora(request.adapter)
        output = await self._model.run(request.request_id, token_ids, params, lora)
        answer = _answer(output, len(token_ids))
        if calls is None or not request.tools:
            return answer
        return await asyncio.to_thread(calls.taken_out_of, answer, request.tools)

    async def close(self) -> None:
        """Release the model and end its processes."""
        await self._model.close()

    async def _try_adapter(self, name: str) -> None:
        """Use the adapter once, because one that does not fit the model would end the engine."""
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


def sampling_params(
    sampling: Sampling, seed: int, thinking_tokens: int | None = None
) -> SamplingParams:
    """vLLM's sampling parameters for one answer, which is returned when it is finished.

    Args:
        sampling: the prompt's sampling parameters; their ``seed`` is not used.
        seed: the seed of this candidate.
        thinking_tokens: most tokens of its reasoning; ``None`` sets no limit.

    Raises:
        Poison: vLLM refuses a value.
    """
    from vllm.exceptions import VLLMClientError
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    try:
        return SamplingParams(
            n=1,
            seed=seed,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k or 0,
            min_p=sampling.min_p,
            max_tokens=sampling.max_tokens,
            stop=list(sampling.stop),
            presence_penalty=sampling.presence_penalty,
            frequency_penalty=sampling.frequency_penalty,
            repetition_penalty=sampling.repetition_penalty,
            logprobs=0 if sampling.logprobs else None,
            structured_outputs=_structured(sampling.structured),
            thinking_token_budget=thinking_tokens,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
    except (ValueError, VLLMClientError) as error:
        raise Poison(
            f"vLLM refuses the sampling parameters: {error}; correct the prompt"
        ) from error


def _structured(structured: StructuredOutput | None) -> StructuredOutputsParams | None:
    from vllm.sampling_params import StructuredOutputsParams

    if structured is None:
        return None
    return StructuredOutputsParams(
        json=structured.json_schema,
        regex=structured.regex,
        choice=None if structured.choice is None else list(structured.choice),
        json_object=structured.json_object,
    )


def _answer(output: Any, prompt_tokens: int) -> Answer:
    completion = output.outputs[0]
    if completion.finish_reason not in {"stop", "length"}:
        raise Transient(f"the engine stopped with finish reason {completion.finish_reason!r}")
    return Answer(
        text=completion.text,
        finish_reason=completion.finish_reason,
        prompt_tokens=prompt_tokens,
        completion_tokens=len(completion.token_ids),
        logprob=completion.cumulative_logprob,
    )
