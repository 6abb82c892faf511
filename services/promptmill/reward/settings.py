"""Settings of a reward worker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, Field

from promptmill.inference.engine_settings import EngineSettings
from promptmill.inference.http.judges import further_graders
from promptmill.inference.http.options import GraderKind, GradingOptions, HttpOptions
from promptmill.inference.http.settings import KeyValues
from promptmill.inference.scores import Calibration, from_range
from promptmill.reward.pairwise import Pairs
from promptmill.runtime.errors import Misconfigured
from promptmill_schemas import AttributeScores
from promptmill_schemas.grading import NEMOTRON_WEIGHTS

EXAMPLES = """examples:
  promptmill run reward --model ~/models/reward
  promptmill run reward --model ~/models/reward --weights.verbosity -0.1
  promptmill run reward --model ~/models/reward --heads.helpfulness good --heads.verbosity long
  promptmill run reward --engine openai --base-url https://HOST/v1 --model NAME
  promptmill run reward --engine openai --base-url URL --grader judge
  promptmill run reward --engine openai --base-url URL --model A --grader judge --judges B=,C=URL
  promptmill run reward --engine openai --base-url URL --grader genrm
  promptmill run reward --engine openai --base-url URL --heads.helpfulness reward \
    --score-range=-30,10
  promptmill run reward --engine scripted
"""


class Weights(BaseModel):
    """The weights of the scores in the reward; by default those of Nemotron-4-340B-Reward."""

    helpfulness: float = NEMOTRON_WEIGHTS.helpfulness
    correctness: float = NEMOTRON_WEIGHTS.correctness
    coherence: float = NEMOTRON_WEIGHTS.coherence
    complexity: float = NEMOTRON_WEIGHTS.complexity
    verbosity: float = NEMOTRON_WEIGHTS.verbosity

    def as_scores(self) -> AttributeScores:
        """Return the weights as they are written to records."""
        return AttributeScores(**self.model_dump())


class HeadNames(BaseModel):
    """The model's label or its index for each attribute; if empty, the label with its name."""

    helpfulness: str = ""
    correctness: str = ""
    coherence: str = ""
    complexity: str = ""
    verbosity: str = ""

    def named(self) -> dict[str, str]:
        """Return the attributes that have a label."""
        return {name: label for name, label in self.model_dump().items() if label}


class CalibrationLines(BaseModel):
    """Slope and intercept by attribute, which take precedence over the score range."""

    helpfulness: tuple[float, float] | None = None
    correctness: tuple[float, float] | None = None
    coherence: tuple[float, float] | None = None
    complexity: tuple[float, float] | None = None
    verbosity: tuple[float, float] | None = None


class RewardSettings(EngineSettings):
    """Grade every answer on helpfulness, correctness, coherence, complexity and verbosity."""

    stage: ClassVar[str] = "reward"

    grader: GraderKind = Field(
        default="nim",
        description="openai: a reward model in NVIDIA's format (nim), vLLM's pooling endpoint "
        "(classify), or a chat model with a rubric (judge); two answers beside each other in both "
        "orders by a chat model (pairwise), or by a generative reward model (genrm)",
    )
    rubric: Path | None = Field(
        default=None,
        description="judge: file with a different rubric, plain text or TOML (attributes, scale, "
        "examples)",
    )
    judge_tokens: int | None = Field(
        default=None,
        ge=16,
        description="judge: maximum number of tokens of a verdict; 512 if unset, genrm 16384",
    )
    judges: KeyValues = Field(
        default_factory=dict,
        repr=False,
        description="openai: further graders, as MODEL=URL; without a URL on the same server; the "
        "scores are the mean of all",
    )
    judge_keys: KeyValues = Field(
        default_factory=dict,
        repr=False,
        description="openai: API keys of graders on other servers, as MODEL=$VARIABLE",
    )
    pairs: Pairs = Field(
        default="circular",
        description="pairwise, genrm: compare each answer with the next one, or with all",
    )
    principle: str = Field(
        default="", description="genrm: what the model looks at, if it has the role principle"
    )
    heads: HeadNames = HeadNames()
    score_range: tuple[float, float] | None = Field(
        default=None,
        description="range of the model's own scores, low,high, which is mapped to 0 to 4",
    )
    calibration: CalibrationLines = CalibrationLines()
    weights: Weights = Weights()

    def grading(self) -> GradingOptions:
        """Return how a server is asked."""
        return GradingOptions(
            kind=self.grader,
            heads=self.heads.named(),
            rubric=self.rubric,
            judge_tokens=self.judge_tokens,
            principle=self.principle,
        )

    def servers(self) -> Sequence[HttpOptions | None]:
        """The options of every grader, that of --model first; ``None`` for one that is here."""
        if self.engine != "openai":
            if self.judges:
                raise Misconfigured(
                    f"judges is {', '.join(self.judges)} and engine is {self.engine}: only "
                    "--engine openai can have several graders"
                )
            return [None]
        first = self.http_options()
        return [first, *further_graders(first, self.judges, self.judge_keys)]

    def calibrated(self) -> Calibration:
        """Return the calibration of raw scores; raise ``Misconfigured`` if it is no line."""
        lines = {name: line for name, line in self.calibration if line is not None}
        if self.score_range is not None:
            lines = {**from_range(*self.score_range).lines, **lines}
        return Calibration(lines)
