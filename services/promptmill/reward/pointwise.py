"""A panel whose graders look at each answer alone."""

from __future__ import annotations

from collections.abc import Sequence

from promptmill.inference.ports import GraderEngine, GradeRequest
from promptmill.inference.scores import Calibration
from promptmill.reward.panel import (
    Answers,
    Judged,
    PanelVerdict,
    Refusal,
    require_finite,
    verdict_of,
)
from promptmill.runtime.errors import Exhausted, Poison
from promptmill.runtime.fan_out import KeptResults
from promptmill_schemas import AttributeScores

Opinion = AttributeScores | Refusal


class Pointwise:
    """Asks every grader for the scores of every answer.

    An answer that one of the graders refuses is refused, because a mean over other graders is not
    comparable with those of the other answers.

    Args:
        engines: the graders; several of them have the same scale.
        calibration: what is done to the raw scores of each grader.
    """

    def __init__(
        self,
        engines: Sequence[GraderEngine],
        calibration: Calibration = Calibration(),  # noqa: B008 - frozen
    ) -> None:
        self.engines = engines
        self.calibration = calibration
        self._kept: KeptResults[Opinion] = KeptResults()

    async def judge(self, answers: Answers) -> list[Judged]:
        """Return the verdict or refusal of each answer; see :class:`Panel`."""
        asked = [(index, engine) for index in answers.present for engine in self.engines]
        opinions = await self._kept.all_of(
            answers.key, len(asked), lambda at: self._ask(answers, *asked[at])
        )
        by_answer: dict[int, list[Opinion]] = {}
        for (index, _), opinion in zip(asked, opinions, strict=True):
            by_answer.setdefault(index, []).append(opinion)
        return [_judged(by_answer.get(index)) for index in range(len(answers.texts))]

    async def _ask(self, answers: Answers, index: int, engine: GraderEngine) -> Opinion:
        """Return the scores, or the refusal of an answer that this grader can never grade."""
        request = GradeRequest(
            request_id=f"{answers.prompt_id}-{index}",
            messages=answers.messages,
            answer=answers.texts[index] or "",
        )
        try:
            raw = require_finite(await engine.grade(request))
            return self.calibration.apply(raw)
        except Exhausted:
            raise
        except Poison as error:
            name = f"{engine.info.model}: " if len(self.engines) > 1 else ""
            return Refusal(f"{name}{error}")


def _judged(opinions: Sequence[Opinion] | None) -> Judged:
    if opinions is None:
        return Refusal("the answer has no text")
    scores = []
    for opinion in opinions:
        if isinstance(opinion, Refusal):
            return opinion
        scores.append(opinion)
    verdict: PanelVerdict = verdict_of([scores])
    return verdict
