"""Limits, modes and versions of the filter's policy."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from promptmill.filter.policy import Bounds, Calls, Policy
from promptmill_schemas import GradedCandidate
from promptmill_schemas.message import FunctionCall, ToolCall
from support.scored import answer, scored


def candidate(**given: Any) -> GradedCandidate:
    return scored(answer("An answer.", **given)).graded_candidates()[0]


def names(policy: Policy, **given: Any) -> list[str]:
    return [check.name for check in policy.failed(candidate(**given), given.get("refusal"))]


@pytest.mark.parametrize(("found", "failed"), [(None, []), (0.5, []), (0.51, ["max_disagreement"])])
def test_answers_on_which_the_judges_disagree_can_be_rejected(
    found: float | None, failed: list[str]
) -> None:
    graded = candidate(helpfulness=4.0).model_copy(update={"disagreement": found})
    checks = Policy(max_disagreement=0.5).failed(graded, None)
    assert [check.name for check in checks] == failed
    assert Policy().failed(graded, None) == ()


def test_by_default_helpfulness_of_three_is_asked_for() -> None:
    assert names(Policy(), helpfulness=3.0) == []
    assert names(Policy(), helpfulness=2.99) == ["min_helpfulness"]


def test_a_failed_limit_tells_value_limit_and_margin() -> None:
    (check,) = Policy().failed(candidate(helpfulness=2.5), None)
    assert (check.value, check.limit, check.margin) == (2.5, 3.0, 0.5)


def test_both_ends_of_a_range_pass_and_what_is_beyond_fails() -> None:
    policy = Policy(limits={"verbosity": Bounds(min=1.0, max=2.0)})
    assert names(policy, verbosity=1.0) == []
    assert names(policy, verbosity=2.0) == []
    assert names(policy, verbosity=0.9) == ["min_verbosity"]
    assert names(policy, verbosity=2.1) == ["max_verbosity"]


def test_every_failed_limit_is_named() -> None:
    limits = {"helpfulness": Bounds(min=3), "reward": Bounds(min=5), "verbosity": Bounds(max=1)}
    failed = names(Policy(limits=limits), helpfulness=1.0, reward=2.0, verbosity=3.0)
    assert failed == ["min_helpfulness", "min_reward", "max_verbosity"]


def test_an_ungraded_answer_fails_with_the_reason_of_the_grader() -> None:
    (check,) = Policy().failed(
        candidate(refusal="longer than the context"), "longer than the context"
    )
    assert (check.name, check.detail) == ("graded", "longer than the context")


@pytest.mark.parametrize("ending", ["content_filter", "refusal", "tool_calls"])
def test_an_ungraded_answer_is_rejected_by_its_ending_too(ending: str) -> None:
    given = candidate(refusal="no text", finish=ending).model_copy(update={"text": ""})
    failed = Policy(limits={}).failed(given, "no text")
    assert [check.name for check in failed] == ["graded", "text", "finish_reason"]


def test_an_answer_that_calls_a_tool_needs_no_text() -> None:
    call = ToolCall(function=FunctionCall(name="add", arguments='{"x": 1}'))
    given = candidate(finish="tool_calls").model_copy(update={"text": "", "tool_calls": (call,)})
    assert Policy(limits={}).failed(given, None) == ()


@pytest.mark.parametrize(
    ("setting", "text", "fails"),
    [
        (None, "", False),
        ("with-text", "", True),
        ("with-text", " \n", True),
        ("with-text", "I will add them.", False),
        ("absent", "I will add them.", True),
    ],
)
def test_the_policy_decides_about_answers_that_call_tools(
    setting: Calls | None, text: str, fails: bool
) -> None:
    call = ToolCall(function=FunctionCall(name="add", arguments='{"x": 1}'))
    given = candidate(finish="tool_calls").model_copy(update={"text": text, "tool_calls": (call,)})
    failed = Policy(limits={}, tool_calls=setting).failed(given, None)
    assert [check.name for check in failed] == (["tool_calls"] if fails else [])
    plain = candidate()
    assert Policy(limits={}, tool_calls=setting).failed(plain, None) == ()


def test_a_cut_off_answer_fails_unless_it_is_allowed() -> None:
    assert names(Policy(), finish="length") == ["finish_reason"]
    assert names(Policy(allow_truncated=True), finish="length") == []


@pytest.mark.parametrize(
    ("ending", "detail"),
    [
        ("content_filter", "withheld or cut off by the server: content_filter"),
        ("refusal", "withheld or cut off by the server: refusal"),
        ("model_length", "cut off after"),
        ("tool_calls", "call of a tool"),
        ("abort", "may be incomplete: its finish reason is 'abort'"),
        ("unknown", "may be incomplete"),
    ],
)
def test_only_a_whole_answer_passes(ending: str, detail: str) -> None:
    (check,) = Policy(limits={}).failed(candidate(finish=ending), None)
    assert check.name == "finish_reason"
    assert detail in str(check.detail)


@pytest.mark.parametrize("ending", ["stop", "eos_token", "stop_sequence", "end_turn"])
def test_the_words_for_a_whole_answer_all_pass(ending: str) -> None:
    assert names(Policy(), finish=ending) == []


@pytest.mark.parametrize(
    ("text", "ending", "trace", "faults"),
    [
        ("4", "stop", "Two and two.", []),
        ("4", "stop", None, ["the answer has no reasoning"]),
        ("4", "stop", " \n", ["the answer's reasoning is empty"]),
        ("", "length", "Two and", ["the reasoning was cut off before the answer"]),
        ("4 is", "length", "Two and two.", []),
    ],
)
def test_a_reasoning_is_whole_or_the_answer_fails(
    text: str, ending: str, trace: str | None, faults: list[str]
) -> None:
    given = candidate(finish=ending).model_copy(update={"text": text, "reasoning_content": trace})
    failed = Policy(limits={}, reasoning="whole").failed(given, None)
    assert [check.detail for check in failed if check.name == "reasoning"] == faults
    assert "reasoning" not in [check.name for check in Policy(limits={}).failed(given, None)]
    absent = Policy(limits={}, reasoning="absent").failed(given, None)
    assert ("reasoning" in [check.name for check in absent]) == bool(trace)


@pytest.mark.parametrize("text", ["", " \n\t "])
def test_an_answer_without_text_always_fails(text: str) -> None:
    empty = scored(answer(text)).graded_candidates()[0]
    assert [check.name for check in Policy(limits={}).failed(empty, None)] == ["text"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"limits": {"reward": {"min": 3, "max": 2}}},
            r"min_reward is 3.0: at most max_reward.*2.0",
        ),
        ({"limits": {"charm": {"min": 3}}}, "charm"),
        ({"limits": {"reward": {"min": float("nan")}}}, "finite"),
        ({"limits": {"reward": {"least": 1}}}, "least"),
        ({"mode": "top-k"}, "top_k is None: it is required in mode top-k"),
        ({"mode": "top-k", "top_k": 0}, "top_k"),
        ({"top_k": 2}, "top_k is 2: it has no effect in mode best"),
        ({"min_margin": 0.5}, "min_margin is 0.5: it has no effect in mode best"),
        ({"mode": "preference", "min_margin": 0.0}, "min_margin"),
        ({"duplicate_similarity": 0.4}, "duplicate_similarity"),
        ({"duplicate_similarity": 1.1}, "duplicate_similarity"),
        ({"mode": "worst"}, "mode"),
        ({"name": "a name"}, "name"),
        ({"threshold": 3}, "threshold"),
    ],
)
def test_a_contradiction_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Policy(**given)


def test_equal_bounds_are_no_contradiction() -> None:
    assert names(Policy(limits={"reward": Bounds(min=4, max=4)}), reward=4.0) == []


def test_the_version_is_name_and_digest() -> None:
    assert re.fullmatch(r"strict@[0-9a-f]{12}", Policy(name="strict").version)


def test_whatever_decides_changes_the_version() -> None:
    policies = [
        Policy(),
        Policy(name="other"),
        Policy(limits={"helpfulness": Bounds(min=3.5)}),
        Policy(limits={"helpfulness": Bounds(max=3.0)}),
        Policy(mode="all"),
        Policy(mode="top-k", top_k=2),
        Policy(mode="top-k", top_k=3),
        Policy(mode="preference"),
        Policy(mode="preference", min_margin=0.25),
        Policy(allow_truncated=True),
        Policy(duplicate_similarity=0.8),
        Policy(max_disagreement=0.5),
        Policy(max_disagreement=1.0),
    ]
    assert len({policy.version for policy in policies}) == len(policies)


def test_the_order_in_which_limits_are_written_does_not_matter() -> None:
    a, b = {"reward": Bounds(min=1)}, {"verbosity": Bounds(max=2)}
    assert Policy(limits={**a, **b}).version == Policy(limits={**b, **a}).version


def test_a_changed_copy_is_checked_and_has_its_own_version() -> None:
    policy = Policy()
    assert policy.model_copy(update={"mode": "all"}).version == Policy(mode="all").version
    assert policy.version != policy.model_copy(update={"mode": "all"}).version
    with pytest.raises(ValidationError, match="top_k"):
        policy.model_copy(update={"top_k": 3})


def test_the_default_margin_is_part_of_the_version() -> None:
    default = Policy(mode="preference")
    assert Policy(mode="preference", min_margin=default.margin).version == default.version


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        (Policy(), 1),
        (Policy(mode="preference"), 1),
        (Policy(mode="top-k", top_k=2), 2),
        (Policy(mode="top-k", top_k=1000), 5),  # a claim's limit is one byte
        (Policy(mode="all"), 5),
    ],
)
def test_a_mode_says_how_many_records_are_wanted(policy: Policy, wanted: int) -> None:
    assert policy.wanted(5) == wanted
