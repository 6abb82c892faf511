"""The graded answers to one prompt, and the records that they can become."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Self

from promptmill.filter.policy import Policy
from promptmill_schemas import AttributeScores, GradedCandidate, ids
from promptmill_schemas.content import FinalAnswer
from promptmill_schemas.message import answer_digest


@dataclass(frozen=True, slots=True)
class GradedAnswer:
    """A candidate with grades.

    Attributes:
        digest: the digest of the final answer.
    """

    candidate: GradedCandidate
    scores: AttributeScores
    reward: float
    digest: str

    @property
    def index(self) -> int:
        """The index among the prompt's candidates."""
        return self.candidate.index

    @property
    def rank(self) -> tuple[float, int]:
        """The sort key: the highest reward first, equal ones by index."""
        return -self.reward, self.index

    @property
    def text(self) -> str:
        """The text of the model's answer."""
        return self.candidate.text

    @property
    def final(self) -> FinalAnswer:
        """The answer without its reasoning."""
        return FinalAnswer(self.candidate.text, self.candidate.tool_calls)


@dataclass(frozen=True, slots=True)
class RecordChoice:
    """A possible record: one answer, or a better and a worse one."""

    record_id: str
    chosen: GradedAnswer
    rejected: GradedAnswer | None = None

    @classmethod
    def of(cls, prompt_id: str, chosen: GradedAnswer, rejected: GradedAnswer | None = None) -> Self:
        """Return it with the id of the record; equal texts make the same record."""
        if rejected is None:
            return cls(ids.record_id(prompt_id, "sft", chosen.digest), chosen)
        record_id = ids.record_id(prompt_id, "preference", chosen.digest, rejected.digest)
        return cls(record_id, chosen, rejected)

    @property
    def kind(self) -> Literal["sft", "preference"]:
        """The kind of record."""
        return "sft" if self.rejected is None else "preference"

    @property
    def answers(self) -> tuple[FinalAnswer, ...]:
        """Its final answers, the chosen one first."""
        return (self.chosen.final, *(() if self.rejected is None else (self.rejected.final,)))


def ranked(candidates: Iterable[GradedCandidate]) -> list[GradedAnswer]:
    """Return the graded answers, the highest reward first, equal ones by index."""
    answers = [
        GradedAnswer(
            candidate,
            candidate.scores,
            candidate.reward,
            answer_digest(candidate.text, candidate.tool_calls),
        )
        for candidate in candidates
        if candidate.scores is not None and candidate.reward is not None
    ]
    return sorted(answers, key=lambda answer: answer.rank)


def selections(
    policy: Policy, answers: Sequence[GradedAnswer], prompt_id: str
) -> dict[str, RecordChoice]:
    """Return the records that the policy would accept by id, best first."""
    passing = [answer for answer in answers if not policy.failed(answer.candidate, None)]
    found: dict[str, RecordChoice] = {}
    for chosen in passing:
        rejected = worst_beside(chosen, answers) if policy.mode == "preference" else None
        if policy.mode == "preference" and not _far_enough(chosen, rejected, policy):
            continue
        selection = RecordChoice.of(prompt_id, chosen, rejected)
        found.setdefault(selection.record_id, selection)
    return found


def worst_beside(chosen: GradedAnswer, answers: Sequence[GradedAnswer]) -> GradedAnswer | None:
    """Return the answer with the lowest reward that is another answer than ``chosen``."""
    others = (
        answer
        for answer in reversed(answers)
        if answer.final.exact() not in ("", chosen.final.exact())
    )
    return next(others, None)


def possible(answers: Sequence[GradedAnswer], prompt_id: str) -> Iterator[RecordChoice]:
    """Return every record that any policy could make of these answers."""
    yield from (RecordChoice.of(prompt_id, answer) for answer in answers)
    for chosen in answers:
        others = (answer for answer in answers if answer is not chosen)
        yield from (RecordChoice.of(prompt_id, chosen, other) for other in others)


def _far_enough(chosen: GradedAnswer, rejected: GradedAnswer | None, policy: Policy) -> bool:
    return rejected is not None and chosen.reward - rejected.reward >= policy.margin
