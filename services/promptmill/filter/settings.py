"""The settings of a filter worker: the policy as flat names, and the place of the claims."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from promptmill.filter.policy import (
    DEFAULT_MIN_HELPFULNESS,
    MEASURES,
    Bounds,
    Calls,
    Measure,
    Mode,
    Policy,
    Reasoning,
)
from promptmill.runtime.errors import Misconfigured
from promptmill.stream.stage_settings import StageSettings
from promptmill_schemas.base import contract_error

EXAMPLES = """examples:
  promptmill run filter --min-helpfulness 3.5 --max-verbosity 2.5
  promptmill run filter --min-helpfulness none --min-reward 4
  promptmill run filter --mode top-k --top-k 2
  promptmill run filter --mode preference --min-margin 1.0
  promptmill run filter --duplicate-similarity 0.8
"""


def _given(value: Any) -> Any:
    return None if isinstance(value, str) and value.strip().lower() in ("", "none") else value


Limit = Annotated[float | None, Field(allow_inf_nan=False), BeforeValidator(_given)]
Count = Annotated[int | None, BeforeValidator(_given)]


class FilterSettings(StageSettings):
    """Let the good answers through, each content once; ``none`` switches a limit off."""

    stage: ClassVar[str] = "filter"

    policy_name: str = Field(
        default="default",
        description="name of the policy, written to records together with a digest",
    )
    mode: Mode = Field(
        default="best",
        description=(
            "answers that become records: best, top-k, all, or preference (the best against the "
            "worst)"
        ),
    )
    top_k: Count = Field(
        default=None, description="maximum number of records per prompt in mode top-k"
    )
    min_margin: Limit = Field(
        default=None, description="minimum lead in reward of the chosen answer in mode preference"
    )
    allow_truncated: bool = Field(
        default=False, description="accept answers that were cut off (finish reason length)"
    )
    reasoning: Annotated[Reasoning | None, BeforeValidator(_given)] = Field(
        default=None,
        description=(
            "whole: accept only answers with a reasoning that is neither empty nor cut off; "
            "absent: only those without one"
        ),
    )
    tool_calls: Annotated[Calls | None, BeforeValidator(_given)] = Field(
        default=None,
        description=(
            "with-text: refuse answers that consist only of calls of tools; absent: refuse all "
            "answers with calls"
        ),
    )
    duplicate_similarity: Limit = Field(
        default=None,
        description=(
            "similarity (0.5 to 1) from which answers count as duplicates; none: only equal ones"
        ),
    )
    duplicate_folding: bool = Field(
        default=True,
        description=(
            "ignore case, white space and compatibility forms when near-duplicates are compared; "
            "exact duplicates always differ in them; give every filter the same, and a change "
            "rebuilds the claims"
        ),
    )
    min_helpfulness: Limit = DEFAULT_MIN_HELPFULNESS
    max_helpfulness: Limit = None
    min_correctness: Limit = None
    max_correctness: Limit = None
    min_coherence: Limit = None
    max_coherence: Limit = None
    min_complexity: Limit = None
    max_complexity: Limit = None
    min_verbosity: Limit = None
    max_verbosity: Limit = None
    min_reward: Limit = Field(default=None, description="minimum of the weighted reward")
    max_reward: Limit = None
    max_disagreement: Limit = Field(
        default=None,
        description="maximum difference between the opinions of several judges, or of both orders "
        "of a comparison",
    )

    namespace: str = Field(
        default="",
        description=(
            "namespace of the claims in Redis, one for each data set; the id of its tables if empty"
        ),
    )
    expected_records: int = Field(
        default=10_000_000,
        ge=1,
        description="approximate size of the data set, which decides the layout of the claims",
    )
    redis_timeout_s: float = Field(default=2.0, gt=0, description="time-out of one call to Redis")
    settle_s: float = Field(
        default=2.0,
        ge=0,
        description="wait before a rebuild reads the topics, so that messages on their way arrive",
    )
    slots: int = Field(default=256, ge=1, description="records processed at the same time")

    @model_validator(mode="after")
    def _policy_holds(self) -> Self:
        """Check at the start that the settings do not contradict each other."""
        _ = self.policy
        return self

    @property
    def policy(self) -> Policy:
        """Return the policy; raise ``Misconfigured`` if settings contradict each other."""
        try:
            return Policy(
                name=self.policy_name,
                mode=self.mode,
                limits=self._limits(),
                top_k=self.top_k,
                min_margin=self.min_margin,
                allow_truncated=self.allow_truncated,
                reasoning=self.reasoning,
                tool_calls=self.tool_calls,
                max_disagreement=self.max_disagreement,
                duplicate_similarity=self.duplicate_similarity,
                duplicate_folding=None if self.duplicate_folding else False,
            )
        except ValidationError as error:
            finding = contract_error(error)
            flag = "policy_name" if finding.field == "name" else finding.field
            raise Misconfigured(
                f"filter setting {flag} is {finding.value}: {finding.limit}; {finding.remedy}"
            ) from error

    def _limits(self) -> dict[Measure, Bounds]:
        bounds = {
            measure: Bounds(
                min=getattr(self, f"min_{measure}"), max=getattr(self, f"max_{measure}")
            )
            for measure in MEASURES
        }
        return {measure: each for measure, each in bounds.items() if each != Bounds()}
