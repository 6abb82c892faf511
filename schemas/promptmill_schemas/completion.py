"""A prompt with all of its answers and the model that generated them."""

from __future__ import annotations

from typing import Final, Literal, Self

from pydantic import Field, model_validator

from promptmill_schemas.base import SCHEMA_VERSION, Contract
from promptmill_schemas.errors import ContractError
from promptmill_schemas.fields import Float, Id, Int, Items, OrAbsent, Text, Time
from promptmill_schemas.message import ToolCalls
from promptmill_schemas.prompt import Prompt

ANSWERS_TAG: Final = "promptmill.answers"
GIVEN: Final = "given"
"""The tag and its value for prompts that were published with answers; no others are generated."""


class Candidate(Contract):
    """One answer.

    Attributes:
        index: its index among the prompt's candidates, from 0.
        text: the final answer, without the reasoning. Grading and the search for duplicates look
            at the final answer only.
        finish_reason: why the model stopped: ``stop``, ``length`` or a value of the server.
        completion_tokens: all generated tokens, those of the reasoning among them.
        digest: BLAKE2b-128 of the final answer: of its text, or of its text and tool calls.
        logprob: sum of the log-probabilities of its tokens, if the prompt asked for it.
        reasoning_content: the model's reasoning; ``""`` if it was present and empty.
        tool_calls: the tools that the answer calls.
        reasoning_tokens: how many of completion_tokens belong to the reasoning, if it is known.
    """

    index: Int = Field(ge=0)
    text: str
    finish_reason: Text
    prompt_tokens: Int = Field(ge=0)
    completion_tokens: Int = Field(ge=0)
    seed: Int = Field(ge=0)
    digest: Id
    logprob: Float | None = None
    reasoning_content: str | None = None
    tool_calls: OrAbsent[ToolCalls] = None
    reasoning_tokens: Int | None = Field(default=None, ge=0)


class Generator(Contract):
    """The model that generated the answers."""

    engine: Text
    model: Text
    revision: str = ""
    tensor_parallel: Int = Field(default=1, ge=1)
    template_digest: str = ""
    adapter: str | None = None


class Timings(Contract):
    """When the work began, and how long it took in seconds."""

    started_at: Time
    queued_s: Float = Field(default=0.0, ge=0)
    work_s: Float = Field(ge=0)


class Completion(Contract):
    """A prompt with its ``n`` candidates, in the order of their index."""

    schema_version: Literal[1] = SCHEMA_VERSION
    prompt: Prompt
    candidates: Items[Candidate] = Field(min_length=1)
    generator: Generator
    timings: Timings

    @model_validator(mode="after")
    def _one_candidate_for_each_index(self) -> Self:
        indexes = [candidate.index for candidate in self.candidates]
        if indexes != list(range(self.prompt.n)):
            limit = f"the indexes must run from 0 to {self.prompt.n - 1}, each once and in order"
            raise ContractError("candidates.index", indexes, limit, "send all candidates together")
        return self
