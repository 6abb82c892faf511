"""The five attributes, the scalar reward, and who gave them."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from promptmill_schemas.base import Contract
from promptmill_schemas.fields import SmallObject
from promptmill_schemas.prompt import Float, Int, Text

ATTRIBUTES: Final = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")


class AttributeScores(Contract):
    """Raw scores of one answer, finite, usually 0 to 4 (higher is more of the attribute)."""

    helpfulness: Float
    correctness: Float
    coherence: Float
    complexity: Float
    verbosity: Float

    def weighted(self, weights: AttributeScores) -> float:
        """The scalar reward: the sum of each score times its weight."""
        return float(sum(getattr(self, name) * getattr(weights, name) for name in ATTRIBUTES))


NEMOTRON_WEIGHTS: Final = AttributeScores(
    helpfulness=0.3, correctness=0.74, coherence=0.46, complexity=0.47, verbosity=-0.33
)
"""Weights of the model card of Nemotron-4-340B-Reward."""


class Scorer(Contract):
    """What graded the answers, and how scores became a reward.

    Attributes:
        weights: the reward is the sum of score × weight.
        calibration: slope and intercept by attribute that were applied to the raw scores;
            empty when they were taken as they came.
    """

    engine: Text
    model: Text
    revision: str = ""
    weights: AttributeScores = NEMOTRON_WEIGHTS
    calibration: SmallObject[tuple[Float, Float]] = Field(default_factory=dict)


class GradedCandidate(Contract):
    """An answer with its grades, as it is kept beside the record or reject it belongs to."""

    index: Int = Field(ge=0)
    text: str
    finish_reason: Text
    completion_tokens: Int = Field(ge=0)
    scores: AttributeScores | None = None
    reward: Float | None = None
