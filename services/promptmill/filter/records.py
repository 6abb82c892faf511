"""The records of an accepted prompt."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from promptmill.core.gates.base import Verdict
from promptmill.filter.answers import Selection
from promptmill.filter.case import Case
from promptmill.filter.policy import distance
from promptmill_schemas import Message, Record


def records_of(case: Case, verdict: Verdict, at: datetime) -> list[Record]:
    """The records that the verdict names, best first; the first one lists all candidates."""
    return [
        Record(
            record_id=selection.record_id,
            kind=selection.kind,
            ordinal=ordinal,
            messages=_conversation(case, selection),
            chosen=selection.chosen.text,
            scores=selection.chosen.scores,
            reward=selection.chosen.reward,
            candidates=() if ordinal else case.candidates,
            **_rejected_side(selection),
            **case.provenance(verdict.policy, at),
        )
        for ordinal, selection in enumerate(case.accepted(verdict.accepted))
    ]


def _conversation(case: Case, selection: Selection) -> tuple[Message, ...]:
    if selection.rejected is not None:
        return case.prompt.messages
    return (*case.prompt.messages, Message(role="assistant", content=selection.chosen.text))


def _rejected_side(selection: Selection) -> dict[str, Any]:
    if (rejected := selection.rejected) is None:
        return {}
    return {
        "rejected": rejected.text,
        "rejected_scores": rejected.scores,
        "rejected_reward": rejected.reward,
        "margin": distance(selection.chosen.reward, rejected.reward),
    }
