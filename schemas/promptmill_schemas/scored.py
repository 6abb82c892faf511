"""A completion with the grades of all of its candidates."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from promptmill_schemas.base import SCHEMA_VERSION, Contract
from promptmill_schemas.completion import Completion, Timings
from promptmill_schemas.errors import ContractError
from promptmill_schemas.fields import Float, Int, Items, Text
from promptmill_schemas.grading import AttributeScores, GradedCandidate, Scorer


class Grade(Contract):
    """The grade of one candidate; ``refusal`` is the reason if it was not graded.

    Attributes:
        disagreement: the largest difference between two opinions on one attribute, if there was
            more than one opinion: of several judges, or of both orders of a comparison. The scores
            are the mean of the opinions.
    """

    index: Int = Field(ge=0)
    scores: AttributeScores | None = None
    reward: Float | None = None
    refusal: Text | None = None
    disagreement: Float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _graded_or_refused(self) -> Self:
        graded = self.scores is not None and self.reward is not None
        if graded == (self.refusal is not None):
            limit = "a grade has either scores and a reward, or a refusal"
            raise ContractError(f"grades.{self.index}", self.refusal, limit, "send one of the two")
        return self


class Scored(Contract):
    """A completion with the grades on which the filter decides."""

    schema_version: Literal[1] = SCHEMA_VERSION
    completion: Completion
    grades: Items[Grade] = Field(min_length=1)
    scorer: Scorer
    timings: Timings

    @model_validator(mode="after")
    def _one_grade_for_each_candidate(self) -> Self:
        indexes = [grade.index for grade in self.grades]
        if indexes != [candidate.index for candidate in self.completion.candidates]:
            limit = "there must be one grade for each candidate, in the same order"
            raise ContractError("grades.index", indexes, limit, "grade all candidates together")
        return self

    def graded_candidates(self) -> tuple[GradedCandidate, ...]:
        """Return each candidate with its grades, in order of index."""
        return tuple(
            GradedCandidate(
                index=candidate.index,
                text=candidate.text,
                finish_reason=candidate.finish_reason,
                completion_tokens=candidate.completion_tokens,
                scores=grade.scores,
                reward=grade.reward,
                reasoning_content=candidate.reasoning_content,
                tool_calls=candidate.tool_calls,
                reasoning_tokens=candidate.reasoning_tokens,
                disagreement=grade.disagreement,
            )
            for candidate, grade in zip(self.completion.candidates, self.grades, strict=True)
        )
