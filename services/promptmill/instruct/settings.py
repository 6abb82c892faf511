"""Settings of an instruct worker."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from promptmill.core.engines.openai.options import Api
from promptmill.core.engines.openai.settings import ServerSettings

EXAMPLES = """examples:
  promptmill run instruct --model ~/models/nemotron-mini
  promptmill run instruct --model ~/models/nemotron --tensor-parallel 2
  promptmill run instruct --engine openai --base-url http://127.0.0.1:8000/v1 --model NAME
  promptmill run instruct --engine scripted
"""


class InstructSettings(ServerSettings):
    """Answer prompts with a language model; one worker is one tensor-parallel group."""

    stage: ClassVar[str] = "instruct"

    engine: Literal["vllm", "openai", "scripted"] = Field(
        default="vllm", description="what answers; scripted is for tests and load runs only"
    )
    tensor_parallel: int = Field(default=1, ge=1, description="ranks that share the model")
    api: Api = Field(
        default="chat", description="openai: completions for base models, which know no turns"
    )
    watchdog_s: float = Field(
        default=120.0, gt=0, description="work outstanding and no token for so long: the end"
    )
