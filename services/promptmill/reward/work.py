"""From a completion to a scored completion: a grade or a refusal for each candidate."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from promptmill.inference.ports import answer_text
from promptmill.reward.panel import Answers, Graders, Panel, PanelVerdict, Refusal
from promptmill.stream.outcome import Emit, Outcome, Outgoing
from promptmill_schemas import (
    AttributeScores,
    Candidate,
    Completion,
    Grade,
    Scored,
    Scorer,
    Timings,
)
from promptmill_schemas.topics import SCORED


class Reward:
    """The work of a reward worker.

    Args:
        panel: the graders; its calibration is stamped on the record.
        weights: the reward is the sum of score × weight.
    """

    def __init__(
        self,
        panel: Panel,
        weights: AttributeScores,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._panel = panel
        self._graders = Graders(panel.engines)
        self._weights = weights
        self._now = now

    async def __call__(self, completion: Completion) -> Outcome:
        """Return the completion with a grade for each candidate, in their order."""
        started_at, start = self._now(), time.monotonic()
        info = self._graders.info
        scored = Scored(
            completion=completion,
            grades=await self._grades(completion),
            scorer=Scorer(
                engine=info.engine,
                model=info.model,
                revision=info.revision,
                weights=self._weights,
                calibration=dict(self._panel.calibration.lines),
            ),
            timings=Timings(started_at=started_at, work_s=time.monotonic() - start),
        )
        return Emit((Outgoing(SCORED, scored),))

    async def _grades(self, completion: Completion) -> tuple[Grade, ...]:
        """The grades of the final answers; a candidate without one is refused, and costs nothing.

        Raises:
            Exhausted: a grader failed too often; that says nothing about the answers.
        """
        prompt, candidates = completion.prompt, completion.candidates
        texts = tuple(map(_final_answer, candidates))
        judged = await self._panel.judge(Answers(prompt.prompt_id, prompt.messages, texts))
        return tuple(
            self._grade(candidate, one)
            if text is not None
            else Grade(index=candidate.index, refusal=_without_text(candidate))
            for candidate, text, one in zip(candidates, texts, judged, strict=True)
        )

    def _grade(self, candidate: Candidate, judged: PanelVerdict | Refusal) -> Grade:
        if isinstance(judged, Refusal):
            return Grade(index=candidate.index, refusal=judged.reason)
        return Grade(
            index=candidate.index,
            scores=judged.scores,
            reward=judged.scores.weighted(self._weights),
            disagreement=judged.disagreement,
        )


def _final_answer(candidate: Candidate) -> str | None:
    """The answer with its calls of tools and without its reasoning; ``None`` if it is empty."""
    text = candidate.text if candidate.text.strip() else ""
    return answer_text(text, candidate.tool_calls) or None


def _without_text(candidate: Candidate) -> str:
    return f"the answer has no text (its finish reason: {candidate.finish_reason})"
