"""The grader as a reward worker would run it: the same settings, from the same places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from promptmill.core.engines.base import GraderEngine, GradeRequest
from promptmill.core.engines.build import build_grader
from promptmill.core.engines.calibration import Calibration
from promptmill.core.errors import Misconfigured
from promptmill.core.stage_settings import parse_settings
from promptmill.reward.settings import EXAMPLES, RewardSettings
from promptmill_schemas import AttributeScores


@dataclass(frozen=True, slots=True)
class Grader:
    """An engine with what is done to its scores.

    Attributes:
        engine: not started yet.
        weights: the reward is the sum of score × weight.
    """

    engine: GraderEngine
    weights: AttributeScores
    calibration: Calibration

    async def grade(self, request: GradeRequest) -> AttributeScores:
        """The calibrated scores; errors are the engine's."""
        return self.calibration.apply(await self.engine.grade(request))


def read_grader(flags: Sequence[str]) -> Grader:
    """The grader that these flags of ``promptmill run reward`` describe.

    Raises:
        Misconfigured: a value is wrong; the message names it.
        SystemExit: an unknown flag.
    """
    settings = parse_settings(RewardSettings, flags, EXAMPLES)
    if settings.follows:
        raise Misconfigured(
            f"node_rank is {settings.node_rank}: promptmill grade runs on host number 0 only; "
            "start promptmill run reward with this --node-rank here instead"
        )
    engine = build_grader(
        settings.engine,
        settings.model,
        vllm=settings.vllm_options(),
        http=settings.http_options() if settings.engine == "openai" else None,
        grading=settings.grading(),
    )
    return Grader(engine, settings.weights.as_scores(), settings.calibrated())
