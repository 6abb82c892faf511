"""The keys of contents and decisions: which records and which scored messages are equal.

The keys can be computed from a stored record alone, so claims can be rebuilt from the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from promptmill.dedup.near import Sketch, sketch
from promptmill.dedup.ports import Claimed, RecordKey
from promptmill_schemas import Message, Record, Reject, Scored, ids
from promptmill_schemas.content import (
    FinalAnswer,
    answers_of,
    content_digest,
    exact,
    exact_turns,
    folded,
    prompt_of,
)
from promptmill_schemas.message import answer_digest


@dataclass(frozen=True, slots=True)
class Conversation:
    """The conversation that records continue, for the keys of several records.

    Attributes:
        messages: its turns.
        turns: the same as the key of a content contains it.
    """

    messages: Sequence[Message]
    turns: list[list[Any]]

    @classmethod
    def of(cls, messages: Sequence[Message], tools: Sequence[Any] | None = None) -> Self:
        """Create the conversation of these messages with these tools."""
        return cls(messages, exact_turns(messages, tools))

    def key(
        self,
        record_id: str,
        kind: str,
        answers: Sequence[FinalAnswer],
        *,
        sketched: bool,
        folding: bool = True,
    ) -> RecordKey:
        """Return the key of a record that ends with these answers.

        Args:
            answers: the chosen answer, and for a pair the rejected one.
            sketched: whether nearly equal contents should be found.
            folding: whether case, white space and compatibility forms make no difference there.
        """
        content = content_digest(kind, self.turns, answers)
        return RecordKey(record_id, content, self._sketch(answers, folding) if sketched else None)

    def _sketch(self, answers: Sequence[FinalAnswer], folding: bool) -> Sketch:
        """Sketch the conversation without system turns, which a whole corpus often shares."""
        form = folded if folding else exact
        asked = [form(turn.content) for turn in self.messages if turn.role != "system"]
        return sketch(" ".join(asked), " ".join(form(answer.in_words()) for answer in answers))


def record_key(record: Record, *, sketched: bool = False, folding: bool = True) -> RecordKey:
    """Return a record's id, its content and, if wanted, its sketch.

    The content is the conversation with its final answers, and the kind. The same answer to another
    prompt is another content, and so is a pair with another rejected answer.
    """
    return Conversation.of(prompt_of(record), record.tools).key(
        record.record_id, record.kind, answers_of(record), sketched=sketched, folding=folding
    )


def decision_id(scored: Scored) -> str:
    """Return the digest of the answers, their grades and the grader."""
    answers = [
        [answer.index, answer_digest(answer.text, answer.tool_calls), answer.finish_reason]
        for answer in scored.completion.candidates
    ]
    grades = [grade.model_dump(mode="json", exclude_none=True) for grade in scored.grades]
    scorer = scored.scorer.model_dump(mode="json", exclude_none=True)
    return ids.digest("decision", scored.completion.prompt.prompt_id, answers, grades, scorer)


def claimed_from_record(record: Record, *, sketched: bool = False, folding: bool = True) -> Claimed:
    """Return the claim that accepted this record."""
    key = record_key(record, sketched=sketched, folding=folding)
    return Claimed(
        record.prompt_id, record.decision_id, record.policy_version, (key,), record.replays
    )


def claimed_from_reject(reject: Reject) -> Claimed:
    """Return the claim that rejected this prompt."""
    return Claimed(
        reject.prompt_id, reject.decision_id, reject.policy_version, replays=reject.replays
    )
