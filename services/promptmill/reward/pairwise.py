"""A panel whose graders look at two answers beside each other, in both orders.

Graders that compare prefer a place, often the first. Every pair is therefore asked in both orders,
and counts only if both orders have a result. An answer's scores are the mean over its pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from promptmill.inference.ports import Compared, CompareRequest, ComparisonEngine
from promptmill.inference.scores import Calibration
from promptmill.reward.panel import Answers, Judged, Refusal, require_finite, verdict_of
from promptmill.runtime.errors import Exhausted, Poison
from promptmill.runtime.fan_out import KeptResults
from promptmill_schemas import AttributeScores

Pairs = Literal["circular", "all"]
"""Which answers are compared: each with the next one, or each with every other one."""

ALONE = (
    "there is no other answer to compare this one with; publish prompts with n of at least 2, or "
    "use a grader of single answers"
)


@dataclass(frozen=True, slots=True)
class _Question:
    """One request: two answers in this order, and who is asked."""

    first: int
    second: int
    engine: ComparisonEngine

    @property
    def pair(self) -> tuple[int, int]:
        """The two answers, whatever their order."""
        return min(self.first, self.second), max(self.first, self.second)


class Pairwise:
    """Asks every grader about pairs of answers.

    Args:
        engines: the graders.
        calibration: what is done to the raw scores of each comparison.
        pairs: which answers are compared. ``circular`` makes one pair for each answer, ``all``
            makes n × (n − 1) / 2 pairs; each pair is two requests to each grader.
    """

    def __init__(
        self,
        engines: Sequence[ComparisonEngine],
        calibration: Calibration = Calibration(),  # noqa: B008 - frozen
        pairs: Pairs = "circular",
    ) -> None:
        self.engines = engines
        self.calibration = calibration
        self._pairs = pairs
        self._kept: KeptResults[Compared | Refusal] = KeptResults()

    async def judge(self, answers: Answers) -> list[Judged]:
        """Return the verdict or refusal of each answer; see :class:`Panel`."""
        asked = [
            _Question(*order, engine)
            for pair in pairs_of(answers.present, self._pairs)
            for order in (pair, pair[::-1])
            for engine in self.engines
        ]
        results = await self._kept.all_of(
            answers.key, len(asked), lambda at: self._ask(answers, asked[at])
        )
        by_pair: dict[tuple[int, int], list[tuple[_Question, Compared | Refusal]]] = {}
        for question, result in zip(asked, results, strict=True):
            by_pair.setdefault(question.pair, []).append((question, result))
        return [_judged(index, answers, by_pair) for index in range(len(answers.texts))]

    async def _ask(self, answers: Answers, question: _Question) -> Compared | Refusal:
        """Return the scores of both, or the refusal of a pair that this grader never compares."""
        first, second, engine = question.first, question.second, question.engine
        request = CompareRequest(
            request_id=f"{answers.prompt_id}-{first}-{second}",
            messages=answers.messages,
            first=answers.texts[first] or "",
            second=answers.texts[second] or "",
        )
        try:
            one, other = map(require_finite, await engine.compare(request))
            return self.calibration.apply(one), self.calibration.apply(other)
        except Exhausted:
            raise
        except Poison as error:
            return Refusal(str(error))


def pairs_of(indexes: Sequence[int], pairs: Pairs) -> list[tuple[int, int]]:
    """The pairs to compare, each once; none if there are fewer than two answers."""
    if pairs == "all" or len(indexes) < 3:
        return list(combinations(indexes, 2))
    return list(zip(indexes, [*indexes[1:], indexes[0]], strict=True))


def _judged(
    index: int,
    answers: Answers,
    by_pair: dict[tuple[int, int], list[tuple[_Question, Compared | Refusal]]],
) -> Judged:
    """The verdict over the pairs of this answer in which every request has a result."""
    if answers.texts[index] is None:
        return Refusal("the answer has no text")
    groups: list[list[AttributeScores]] = []
    reasons: list[str] = []
    for pair, results in by_pair.items():
        if index not in pair:
            continue
        refused = [result.reason for _, result in results if isinstance(result, Refusal)]
        reasons += refused
        if not refused:
            groups.append([_of(index, question, result) for question, result in results])
    if groups:
        return verdict_of(groups)
    return Refusal(f"no comparison has a result: {reasons[0]}" if reasons else ALONE)


def _of(index: int, question: _Question, result: Compared | Refusal) -> AttributeScores:
    assert not isinstance(result, Refusal)  # noqa: S101 - pairs with refusals do not count
    return result[0] if question.first == index else result[1]
