"""A prompt of which no answer was accepted, with all failed checks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from promptmill_schemas.base import SCHEMA_VERSION, Contract
from promptmill_schemas.completion import Generator
from promptmill_schemas.fields import (
    Float,
    Id,
    Int,
    Items,
    JsonObject,
    Label,
    OrAbsent,
    RunName,
    Tags,
    Text,
    Time,
)
from promptmill_schemas.grading import AttributeScores, Scorer
from promptmill_schemas.message import Message, ToolCalls
from promptmill_schemas.prompt import Sampling, Tools
from promptmill_schemas.reference import Reference

Reason = Literal["below_limit", "duplicate_exact", "duplicate_near", "ungraded"]


class Check(Contract):
    """A failed check; ``margin`` is the distance by which the value misses the limit."""

    name: Text
    value: Float | None = None
    limit: Float | None = None
    margin: Float | None = None
    detail: str | None = None


class Duplicate(Contract):
    """The record of which an answer is a duplicate, with the Jaccard similarity (1.0 if exact)."""

    record_id: Id
    similarity: Float = Field(ge=0, le=1)


class FailedCandidate(Contract):
    """An answer with the checks that it failed.

    Attributes:
        text: the final answer, without the reasoning.
        reasoning_content: the model's reasoning; ``""`` if it was present and empty.
        tool_calls: the tools that the answer calls.
        reasoning_tokens: how many of completion_tokens belong to the reasoning, if it is known.
        disagreement: how far the opinions differ whose mean the scores are, if there were several.
    """

    index: Int = Field(ge=0)
    text: str
    finish_reason: Text
    completion_tokens: Int = Field(ge=0)
    scores: AttributeScores | None = None
    reward: Float | None = None
    checks: Items[Check] = Field(min_length=1)
    duplicate: Duplicate | None = None
    reasoning_content: str | None = None
    tool_calls: OrAbsent[ToolCalls] = None
    reasoning_tokens: Int | None = Field(default=None, ge=0)
    disagreement: Float | None = Field(default=None, ge=0)


class Reject(Contract):
    """The decision about a prompt of which no answer was accepted.

    Attributes:
        reason: why the prompt's best answer was not accepted.
        detail: the same in words, with value and limit.
        tools, chat_template_kwargs, reference, category, licence: those of the prompt.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    prompt_id: Id
    decision_id: Id
    run: RunName
    reason: Reason
    detail: Text
    messages: Items[Message] = Field(min_length=1)
    candidates: Items[FailedCandidate] = Field(min_length=1)
    sampling: Sampling
    tools: OrAbsent[Tools] = None
    chat_template_kwargs: OrAbsent[JsonObject] = None
    tags: Tags = Field(default_factory=dict)
    reference: Reference | None = None
    category: OrAbsent[Label] = None
    licence: OrAbsent[Label] = None
    generator: Generator
    scorer: Scorer
    policy_version: Text
    replays: Int = Field(default=0, ge=0)
    created_at: Time
