"""The records of an accepted prompt, or the one reject with the reason of every answer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from promptmill.dedup.ports import Owner, Verdict
from promptmill.filter.answers import RecordChoice, worst_beside
from promptmill.filter.case import Case
from promptmill.filter.policy import distance
from promptmill_schemas import (
    Check,
    Duplicate,
    FailedCandidate,
    Grade,
    GradedCandidate,
    Message,
    Record,
    Reject,
)
from promptmill_schemas.message import answer_digest
from promptmill_schemas.reject import Reason


def records_of(case: Case, verdict: Verdict, at: datetime) -> list[Record]:
    """Return the records that the verdict names, best first; the first lists all candidates."""
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


def _conversation(case: Case, selection: RecordChoice) -> tuple[Message, ...]:
    if selection.rejected is not None:
        return case.prompt.messages
    chosen = selection.chosen.candidate
    last = Message(
        role="assistant",
        content=chosen.text,
        reasoning_content=chosen.reasoning_content,
        tool_calls=chosen.tool_calls,
    )
    return (*case.prompt.messages, last)


def _rejected_side(selection: RecordChoice) -> dict[str, Any]:
    if (rejected := selection.rejected) is None:
        return {}
    return {
        "rejected": rejected.text,
        "chosen_reasoning_content": selection.chosen.candidate.reasoning_content,
        "rejected_reasoning_content": rejected.candidate.reasoning_content,
        "chosen_tool_calls": selection.chosen.candidate.tool_calls,
        "rejected_tool_calls": rejected.candidate.tool_calls,
        "rejected_scores": rejected.scores,
        "rejected_reward": rejected.reward,
        "margin": distance(selection.chosen.reward, rejected.reward),
    }


def reject_of(case: Case, verdict: Verdict, at: datetime) -> Reject:
    """Return the reject, which lists every candidate with the checks that it failed."""
    owners: dict[str, Owner] = {}
    if verdict.policy == case.policy.version:  # else the content was not what kept it out
        owners = {case.options[own].chosen.digest: other for own, other in verdict.owners.items()}
    judged = zip(case.candidates, case.scored.grades, strict=True)
    failed = tuple(_failed(case, verdict, owners, *pair) for pair in judged)
    best = _best(case, failed)
    return Reject(
        reason=_reason(best),
        detail=f"answer {best.index} of {len(failed)}: {'; '.join(map(_in_words, best.checks))}",
        messages=case.prompt.messages,
        candidates=failed,
        **case.provenance(verdict.policy, at),
    )


def _failed(
    case: Case, verdict: Verdict, owners: dict[str, Owner], candidate: GradedCandidate, grade: Grade
) -> FailedCandidate:
    owner = owners.get(answer_digest(candidate.text, candidate.tool_calls))
    checks = case.policy.failed(candidate, grade.refusal)
    if not checks:
        checks = (_unwanted(case, verdict, candidate, owner),)
    return FailedCandidate(
        index=candidate.index,
        text=candidate.text,
        finish_reason=candidate.finish_reason,
        completion_tokens=candidate.completion_tokens,
        scores=candidate.scores,
        reward=candidate.reward,
        checks=checks,
        duplicate=_duplicate(owner),
        disagreement=candidate.disagreement,
        reasoning_content=candidate.reasoning_content,
        tool_calls=candidate.tool_calls,
        reasoning_tokens=candidate.reasoning_tokens,
    )


def _unwanted(
    case: Case, verdict: Verdict, candidate: GradedCandidate, owner: Owner | None
) -> Check:
    """Return the reason why an answer within all limits is no record."""
    if owner is not None:
        return _duplicate_check(owner, case.policy.duplicate_similarity)
    if case.policy.version != verdict.policy:
        detail = f"the prompt has already been rejected by policy {verdict.policy}"
        return Check(name="earlier_decision", detail=detail)
    return _margin_check(case, candidate)


def _duplicate(owner: Owner | None) -> Duplicate | None:
    if owner is None:
        return None
    return Duplicate(record_id=owner.record_id, similarity=owner.similarity)


def _duplicate_check(owner: Owner, limit: float | None) -> Check:
    if owner.exact or limit is None:
        detail = f"its content equals that of record {owner.record_id}"
        return Check(name="duplicate_exact", detail=detail)
    return Check(
        name="duplicate_near",
        value=owner.similarity,
        limit=limit,
        margin=distance(owner.similarity, limit),
        detail=f"its content is nearly the same as that of record {owner.record_id}: "
        f"similarity {owner.similarity:.2f}, limit {limit}",
    )


def _margin_check(case: Case, candidate: GradedCandidate) -> Check:
    chosen = next(answer for answer in case.answers if answer.index == candidate.index)
    limit = case.policy.margin
    if (worst := worst_beside(chosen, case.answers)) is None:
        return Check(
            name="min_margin", limit=limit, detail="there is no other answer to compare it with"
        )
    value = chosen.reward - worst.reward
    return Check(name="min_margin", value=value, limit=limit, margin=distance(value, limit))


def _best(case: Case, failed: Sequence[FailedCandidate]) -> FailedCandidate:
    """Return the nearest answer: a duplicate, or else the one with the highest reward."""
    order = {answer.index: place for place, answer in enumerate(case.answers)}
    return min(failed, key=lambda each: (each.duplicate is None, order.get(each.index, len(order))))


def _reason(best: FailedCandidate) -> Reason:
    match best.checks[0].name:
        case "duplicate_exact":
            return "duplicate_exact"
        case "duplicate_near":
            return "duplicate_near"
        case "graded":
            return "ungraded"
        case _:
            return "below_limit"


def _in_words(check: Check) -> str:
    if check.detail is not None:
        return check.detail
    side, _, measure = check.name.partition("_")
    relation = "below" if side == "min" else "above"
    return f"{measure} {check.value} is {relation} {check.limit} by {check.margin:.3g}"
