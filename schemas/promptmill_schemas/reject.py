"""A prompt of which no answer was accepted, with all failed checks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from promptmill_schemas.base import SCHEMA_VERSION, Contract
from promptmill_schemas.completion import Generator
from promptmill_schemas.fields import Items, Tags, Time
from promptmill_schemas.grading import AttributeScores, Scorer
from promptmill_schemas.prompt import Float, Id, Int, Message, RunName, Sampling, Text

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
    """An answer with the checks that it failed."""

    index: Int = Field(ge=0)
    text: str
    finish_reason: Text
    completion_tokens: Int = Field(ge=0)
    scores: AttributeScores | None = None
    reward: Float | None = None
    checks: Items[Check] = Field(min_length=1)
    duplicate: Duplicate | None = None


class Reject(Contract):
    """The decision about a prompt of which no answer was accepted.

    Attributes:
        reason: why the prompt's best answer was not accepted.
        detail: the same in words, with value and limit.
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
    tags: Tags = Field(default_factory=dict)
    generator: Generator
    scorer: Scorer
    policy_version: Text
    replays: Int = Field(default=0, ge=0)
    created_at: Time
