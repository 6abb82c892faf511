"""What holds for every policy and every answer."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptmill.filter.policy import MEASURES, Bounds, Policy
from promptmill_schemas import GradedCandidate, Scored
from support import contracts

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
edges = st.none() | contracts.finite


@st.composite
def bounds(draw: st.DrawFn) -> Bounds:
    low, high = draw(edges), draw(edges)
    if low is not None and high is not None:
        low, high = sorted((low, high))
    return Bounds(min=low, max=high)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    mode = draw(st.sampled_from(("best", "all", "top-k", "preference")))
    given_mode: dict[str, Any] = {"mode": mode}
    if mode == "top-k":
        given_mode["top_k"] = draw(st.integers(1, 5))
    if mode == "preference":
        given_mode["min_margin"] = draw(st.floats(1e-6, 1e6))
    return Policy(
        limits=draw(st.dictionaries(st.sampled_from(MEASURES), bounds(), max_size=6)),
        allow_truncated=draw(st.booleans()),
        **given_mode,
    )


def answers(scored: Scored) -> list[tuple[GradedCandidate, str | None]]:
    grades = zip(scored.graded_candidates(), scored.grades, strict=True)
    return [(candidate, grade.refusal) for candidate, grade in grades]


def value(candidate: GradedCandidate, measure: str) -> float:
    holder = candidate if measure == "reward" else candidate.scores
    number = getattr(holder, measure)
    assert isinstance(number, float)
    return number


@unhurried
@given(policies(), contracts.scored())
def test_what_passes_is_within_every_limit(policy: Policy, message: Scored) -> None:
    for candidate, refusal in answers(message):
        if policy.failed(candidate, refusal):
            continue
        assert candidate.text.strip()
        for measure, bound in policy.limits.items():
            number = value(candidate, measure)
            assert bound.min is None or number >= bound.min
            assert bound.max is None or number <= bound.max


@unhurried
@given(policies(), contracts.scored())
def test_a_failed_limit_is_really_passed_by_a_finite_margin(
    policy: Policy, message: Scored
) -> None:
    for candidate, refusal in answers(message):
        for check in policy.failed(candidate, refusal):
            if check.limit is None:
                continue
            side, _, measure = check.name.partition("_")
            assert check.value == value(candidate, measure)
            assert check.value < check.limit if side == "min" else check.value > check.limit
            assert check.margin is not None
            assert 0 < check.margin < math.inf


@unhurried
@given(policies(), contracts.scored(), st.data())
def test_a_policy_without_one_of_its_limits_refuses_no_more(
    policy: Policy, message: Scored, data: st.DataObject
) -> None:
    dropped = data.draw(st.sampled_from(MEASURES))
    limits = {measure: bound for measure, bound in policy.limits.items() if measure != dropped}
    looser = policy.model_copy(update={"limits": limits})
    for candidate, refusal in answers(message):
        assert set(looser.failed(candidate, refusal)) <= set(policy.failed(candidate, refusal))


@unhurried
@given(policies())
def test_a_policy_survives_json_with_its_version(policy: Policy) -> None:
    assert Policy.model_validate_json(policy.model_dump_json()).version == policy.version
