"""A case: one scored message and one policy, with everything that the decision needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from promptmill.dedup.ports import TOKEN_DIGITS, Claim
from promptmill.filter.answers import GradedAnswer, RecordChoice, possible, ranked, selections
from promptmill.filter.content import Conversation, decision_id
from promptmill.filter.policy import Policy
from promptmill.runtime.errors import Poison
from promptmill_schemas import GradedCandidate, Prompt, Scored


@dataclass(frozen=True, slots=True)
class Case:
    """A scored message, and the records that it could become.

    Attributes:
        candidates: all answers with their grades, in the order of their index.
        answers: the graded answers, best first.
        options: the records that the policy would accept by id, best first.
    """

    scored: Scored
    policy: Policy
    decision_id: str
    candidates: tuple[GradedCandidate, ...]
    answers: list[GradedAnswer]
    options: dict[str, RecordChoice]

    @classmethod
    def of(cls, scored: Scored, policy: Policy) -> Self:
        """Create the case of this message."""
        candidates = scored.graded_candidates()
        answers = ranked(candidates)
        options = selections(policy, answers, scored.completion.prompt.prompt_id)
        return cls(scored, policy, decision_id(scored), candidates, answers, options)

    @property
    def prompt(self) -> Prompt:
        """The prompt that was answered."""
        return self.scored.completion.prompt

    def claim(self) -> Claim:
        """The claim for the dedup store."""
        conversation = Conversation.of(
            self.prompt.messages if self.options else (), self.prompt.tools
        )
        similarity = self.policy.duplicate_similarity
        options = tuple(
            conversation.key(
                each.record_id,
                each.kind,
                each.answers,
                sketched=similarity is not None,
                folding=self.policy.folds_duplicates,
            )
            for each in self.options.values()
        )
        return Claim(
            prompt_id=self.prompt.prompt_id,
            decision_id=self.decision_id,
            policy=self.policy.version,
            options=options,
            limit=self.policy.wanted(len(options)),
            similarity=similarity,
            replays=self.prompt.replays,
        )

    def accepted(self, tokens: Iterable[str]) -> list[RecordChoice]:
        """Return the records that a verdict names, best first.

        If the verdict was made under another policy, all possible records are searched.

        Raises:
            Poison: the answers cannot make a record that the verdict names.
        """
        wanted = set(tokens)
        found = _named(wanted, self.options.values())
        if len(found) < len(wanted):
            found = _named(wanted, possible(self.answers, self.prompt.prompt_id))
        if len(found) < len(wanted):
            missing = ", ".join(sorted(wanted - found.keys()))
            raise Poison(
                f"prompt {self.prompt.prompt_id} was accepted before with records {missing}…, "
                "which its present answers cannot produce: another version of promptmill derived "
                "a different id"
            )
        return sorted(found.values(), key=lambda each: each.chosen.rank)

    def provenance(self, policy_version: str, at: datetime) -> dict[str, Any]:
        """The fields that records and rejects have in common."""
        return {
            "prompt_id": self.prompt.prompt_id,
            "decision_id": self.decision_id,
            "run": self.prompt.run,
            "sampling": self.prompt.sampling,
            "tools": self.prompt.tools,
            "chat_template_kwargs": self.prompt.chat_template_kwargs,
            "tags": self.prompt.tags,
            "reference": self.prompt.reference,
            "category": self.prompt.category,
            "licence": self.prompt.licence,
            "generator": self.scored.completion.generator,
            "scorer": self.scored.scorer,
            "policy_version": policy_version,
            "replays": self.prompt.replays,
            "created_at": at,
        }


def _named(tokens: set[str], selections: Iterable[RecordChoice]) -> dict[str, RecordChoice]:
    found: dict[str, RecordChoice] = {}
    for selection in selections:
        if (token := selection.record_id[:TOKEN_DIGITS]) in tokens:
            found.setdefault(token, selection)
    return found
