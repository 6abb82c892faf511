"""Settings of an instruct worker."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from promptmill.inference.adapters import check_adapters
from promptmill.inference.engine_settings import EngineSettings
from promptmill.inference.http.options import Api
from promptmill.inference.settings import read_key_values
from promptmill.runtime.errors import Misconfigured

EXAMPLES = """examples:
  promptmill run instruct --model ~/models/nemotron-mini
  promptmill run instruct --model ~/models/nemotron --tensor-parallel 2
  promptmill run instruct --model ~/models/nemotron --adapters legal=~/lora/legal,code=~/lora/code
  promptmill run instruct --model NAME --tensor-parallel 8 --pipeline-parallel 2 \
    --nnodes 2 --node-rank 0 --master-addr HOST
  promptmill run instruct --model NAME --dtype bfloat16 --vllm quantization=fp8
  promptmill run instruct --engine openai --base-url http://127.0.0.1:8000/v1 --model NAME
  promptmill run instruct --engine scripted
"""


class InstructSettings(EngineSettings):
    """Answer prompts with a language model; one worker is one group of ranks."""

    stage: ClassVar[str] = "instruct"

    adapters: Annotated[dict[str, str], NoDecode, BeforeValidator(read_key_values)] = Field(
        default_factory=dict,
        description="vllm: LoRA adapters that prompts may name, as NAME=FOLDER, in peft's format",
    )
    api: Api = Field(
        default="chat",
        description=(
            "openai: which API to use; completions is for base models, which have no chat template"
        ),
    )

    reasoning_tags: str = Field(
        default="auto",
        description=(
            "tags by which inline reasoning is split from the answer: auto knows those of usual "
            "models, none splits nothing, or give the opening and the closing tag"
        ),
    )

    tool_call_parser: str = Field(
        default="",
        description=(
            "vllm: vLLM's parser of the calls of tools in answers, such as hermes; without it, "
            "calls stay in the text"
        ),
    )

    def loaded_adapters(self) -> dict[str, str]:
        """Return the adapters; raise ``Misconfigured`` for one that cannot be loaded."""
        if self.adapters and self.engine != "vllm":
            raise Misconfigured(
                f"adapters is {self.adapters} and engine is {self.engine!r}: only vllm loads "
                "adapters in the worker; with a server the prompts name those that it has; "
                "remove --adapters"
            )
        return check_adapters(self.adapters)
