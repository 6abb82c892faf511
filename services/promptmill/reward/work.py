"""From a completion to a scored completion: a grade or a refusal for each candidate."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime

from promptmill.inference.ports import GraderEngine, GradeRequest
from promptmill.inference.scores import Calibration
from promptmill.runtime.errors import Exhausted, Poison
from promptmill.runtime.fan_out import KeptResults
from promptmill.stream.outcome import Emit, Outcome, Outgoing
from promptmill_schemas import (
    ATTRIBUTES,
    AttributeScores,
    Candidate,
    Completion,
    Grade,
    Scored,
    Scorer,
    Timings,
)
from promptmill_schemas.ids import text_digest
from promptmill_schemas.topics import SCORED


class Reward:
    """The work of a reward worker.

    Args:
        weights: the reward is the sum of score × weight.
        calibration: what is done to the raw scores before; stamped on the record.
    """

    def __init__(
        self,
        engine: GraderEngine,
        weights: AttributeScores,
        calibration: Calibration = Calibration(),  # noqa: B008 - frozen
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._engine = engine
        self._weights = weights
        self._calibration = calibration
        self._now = now
        self._kept: KeptResults[Grade] = KeptResults()

    async def __call__(self, completion: Completion) -> Outcome:
        """Return the completion with a grade for each candidate, in their order."""
        started_at, start = self._now(), time.monotonic()
        info = self._engine.info
        scored = Scored(
            completion=completion,
            grades=tuple(await self._grades(completion)),
            scorer=Scorer(
                engine=info.engine,
                model=info.model,
                revision=info.revision,
                weights=self._weights,
                calibration=dict(self._calibration.lines),
            ),
            timings=Timings(started_at=started_at, work_s=time.monotonic() - start),
        )
        return Emit((Outgoing(SCORED, scored),))

    async def _grades(self, completion: Completion) -> list[Grade]:
        candidates = completion.candidates
        return await self._kept.all_of(
            _key(completion),
            len(candidates),
            lambda index: self._grade(completion, candidates[index]),
        )

    async def _grade(self, completion: Completion, candidate: Candidate) -> Grade:
        """Return the grade, or the refusal of an answer that this grader can never grade.

        Raises:
            Exhausted: the grader failed too often; that says nothing about the answer.
        """
        if not candidate.text.strip():
            return Grade(index=candidate.index, refusal=_without_text(candidate))
        request = GradeRequest(
            request_id=f"{completion.prompt.prompt_id}-{candidate.index}",
            messages=completion.prompt.messages,
            answer=candidate.text,
        )
        try:
            raw = await self._engine.grade(request)
            _require_finite(raw)
        except Exhausted:
            raise
        except Poison as error:
            return Grade(index=candidate.index, refusal=str(error))
        scores = self._calibration.apply(raw)
        reward = scores.weighted(self._weights)
        return Grade(index=candidate.index, scores=scores, reward=reward)


def _key(completion: Completion) -> str:
    """The prompt with these answers; a replay of the prompt may bring other answers."""
    digests = "".join(candidate.digest for candidate in completion.candidates)
    return f"{completion.prompt.prompt_id}-{text_digest(digests)}"


def _without_text(candidate: Candidate) -> str:
    return f"the answer has no text (its finish reason: {candidate.finish_reason})"


def _require_finite(scores: AttributeScores) -> None:
    for name in ATTRIBUTES:
        if not math.isfinite(value := getattr(scores, name)):
            raise Poison(
                f"{name} is {value}: a score must be a finite number; check the grader's weights"
            )
