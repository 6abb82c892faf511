"""From a prompt's sampling to vLLM's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from promptmill.core.errors import Poison
from promptmill_schemas import Sampling, StructuredOutput

if TYPE_CHECKING:
    from vllm.sampling_params import SamplingParams, StructuredOutputsParams


def sampling_params(sampling: Sampling, seed: int) -> SamplingParams:
    """One answer, sent back once it is finished.

    Args:
        seed: of this candidate; the sampling's own is not used.

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
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
    except (ValueError, VLLMClientError) as error:
        raise Poison(
            f"vLLM refuses the sampling parameters: {error}; correct the prompt"
        ) from error


def _structured(form: StructuredOutput | None) -> StructuredOutputsParams | None:
    from vllm.sampling_params import StructuredOutputsParams

    if form is None:
        return None
    return StructuredOutputsParams(
        json=form.json_schema,
        regex=form.regex,
        choice=None if form.choice is None else list(form.choice),
    )
