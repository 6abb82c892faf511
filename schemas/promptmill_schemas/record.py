"""A training record that the policy accepted, with its provenance."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from promptmill_schemas.base import SCHEMA_VERSION, Contract
from promptmill_schemas.completion import Generator
from promptmill_schemas.errors import ContractError
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
from promptmill_schemas.grading import AttributeScores, GradedCandidate, Scorer
from promptmill_schemas.message import Message, ToolCalls
from promptmill_schemas.prompt import Sampling, Tools
from promptmill_schemas.reference import Reference


class Record(Contract):
    """An SFT conversation or a preference pair.

    Attributes:
        decision_id: digest of the scored message on which the decision was made; it is the same in
            all records of one decision, and differs after a replay with other content.
        ordinal: index among the records of the decision, from 0.
        messages: for ``sft`` the whole conversation with the answer at its end; for
            ``preference`` the conversation that both answers continue.
        chosen: the accepted answer's text.
        rejected: the worse answer's text; ``preference`` only.
        chosen_reasoning_content, rejected_reasoning_content: the reasoning of the two answers;
            ``preference`` only, because the last message of ``sft`` has it.
        chosen_tool_calls, rejected_tool_calls: the tool calls of the two answers;
            ``preference`` only, for the same reason.
        scores: the five attributes of the chosen answer.
        reward: the scalar reward of the chosen answer.
        margin: reward of chosen minus reward of rejected; ``preference`` only.
        tools, chat_template_kwargs, reference, category, licence: those of the prompt.
        candidates: every answer to the prompt with its grades; on ordinal 0 only.
        policy_version: digest and name of the policy that accepted the record.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    record_id: Id
    prompt_id: Id
    decision_id: Id
    run: RunName
    kind: Literal["sft", "preference"]
    ordinal: Int = Field(default=0, ge=0)
    messages: Items[Message] = Field(min_length=1)
    chosen: str
    rejected: str | None = None
    chosen_reasoning_content: str | None = None
    rejected_reasoning_content: str | None = None
    chosen_tool_calls: OrAbsent[ToolCalls] = None
    rejected_tool_calls: OrAbsent[ToolCalls] = None
    scores: AttributeScores
    reward: Float
    rejected_scores: AttributeScores | None = None
    rejected_reward: Float | None = None
    margin: Float | None = None
    candidates: Items[GradedCandidate] = ()
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

    @model_validator(mode="after")
    def _a_pair_has_both_sides(self) -> Self:
        pair = (self.rejected, self.rejected_scores, self.rejected_reward, self.margin)
        missing = sum(part is None for part in pair)
        if missing != (0 if self.kind == "preference" else len(pair)):
            limit = (
                "a preference needs rejected, its scores, its reward and a margin; an sft record "
                "has none of them"
            )
            raise ContractError("rejected", self.rejected, limit, "make kind and the fields agree")
        return self
