"""The scores of an answer, its reward, and the grader that gave them."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from promptmill_schemas.base import Contract
from promptmill_schemas.fields import Float, Int, OrAbsent, SmallObject, Text
from promptmill_schemas.message import ToolCalls

ATTRIBUTES: Final = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")


class AttributeScores(Contract):
    """The scores of one answer, nominally 0 to 4; a higher score means more of the attribute."""

    helpfulness: Float
    correctness: Float
    coherence: Float
    complexity: Float
    verbosity: Float

    def weighted(self, weights: AttributeScores) -> float:
        """Return the reward: the sum of all scores multiplied by their weights."""
        return float(sum(getattr(self, name) * getattr(weights, name) for name in ATTRIBUTES))


NEMOTRON_WEIGHTS: Final = AttributeScores(
    helpfulness=0.3, correctness=0.74, coherence=0.46, complexity=0.47, verbosity=-0.33
)
"""The weights from the model card of Nemotron-4-340B-Reward."""


class Scorer(Contract):
    """The grader, with the weights and calibration that were used.

    Attributes:
        weights: the weight of each attribute; the reward is the sum of score × weight.
        calibration: slope and intercept that were applied to the raw scores, by attribute; empty
            if there was no calibration.
    """

    engine: Text
    model: Text
    revision: str = ""
    weights: AttributeScores = NEMOTRON_WEIGHTS
    calibration: SmallObject[tuple[Float, Float]] = Field(default_factory=dict)


class GradedCandidate(Contract):
    """An answer with its grades, as it is stored with a record or reject.

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
    reasoning_content: str | None = None
    tool_calls: OrAbsent[ToolCalls] = None
    reasoning_tokens: Int | None = Field(default=None, ge=0)
    disagreement: Float | None = Field(default=None, ge=0)
