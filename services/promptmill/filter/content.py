"""The keys of contents and decisions: which records and which scored messages are equal.

The keys can be computed from a stored record alone, so claims can be rebuilt from the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from promptmill.dedup.near import Sketch, sketch
from promptmill.dedup.ports import Claimed, RecordKey
from promptmill_schemas import Message, Record, Reject, Scored, ids
from promptmill_schemas.content import content_digest, normalised


@dataclass(frozen=True, slots=True)
class Conversation:
    """The normalised conversation that records continue, for the keys of several records.

    Attributes:
        turns: ``[[role, text], …]``.
    """

    turns: list[list[str]]

    @classmethod
    def of(cls, messages: Sequence[Message]) -> Self:
        """Create the conversation of these messages."""
        return cls([[message.role, normalised(message.content)] for message in messages])

    def key(
        self, record_id: str, kind: str, answers: Sequence[str], *, sketched: bool
    ) -> RecordKey:
        """Return the key of a record that ends with these answers.

        Args:
            answers: the chosen answer, and for a pair the rejected one.
            sketched: whether nearly equal contents should be found.
        """
        texts = list(map(normalised, answers))
        content = content_digest(kind, self.turns, texts)
        return RecordKey(record_id, content, self._sketch(texts) if sketched else None)

    def _sketch(self, texts: list[str]) -> Sketch:
        """Sketch the conversation without system turns, which a whole corpus often shares."""
        asked = " ".join(text for role, text in self.turns if role != "system")
        return sketch(asked, " ".join(texts))


def record_key(
    record_id: str,
    kind: str,
    prompt: Sequence[Message],
    chosen: str,
    rejected: str | None = None,
    *,
    sketched: bool = False,
) -> RecordKey:
    """Return a record's id, its content and, if wanted, its sketch.

    The content is the normalised conversation with its answers, and the kind. The same answer to
    another prompt is another content, and so is a pair with another rejected answer.
    """
    answers = (chosen,) if rejected is None else (chosen, rejected)
    return Conversation.of(prompt).key(record_id, kind, answers, sketched=sketched)


def decision_id(scored: Scored) -> str:
    """Return the digest of the answers, their grades and the grader."""
    answers = [
        [answer.index, ids.text_digest(answer.text), answer.finish_reason]
        for answer in scored.completion.candidates
    ]
    grades = [grade.model_dump(mode="json", exclude_none=True) for grade in scored.grades]
    scorer = scored.scorer.model_dump(mode="json", exclude_none=True)
    return ids.digest("decision", scored.completion.prompt.prompt_id, answers, grades, scorer)


def claimed_from_record(record: Record, *, sketched: bool = False) -> Claimed:
    """Return the claim that accepted this record."""
    prompt = record.messages[:-1] if record.kind == "sft" else record.messages
    key = record_key(
        record.record_id, record.kind, prompt, record.chosen, record.rejected, sketched=sketched
    )
    return Claimed(
        record.prompt_id, record.decision_id, record.policy_version, (key,), record.replays
    )


def claimed_from_reject(reject: Reject) -> Claimed:
    """Return the claim that rejected this prompt."""
    return Claimed(
        reject.prompt_id, reject.decision_id, reject.policy_version, replays=reject.replays
    )
