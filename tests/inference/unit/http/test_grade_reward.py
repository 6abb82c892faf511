"""Scores in both encodings, with every oddity that was recorded, and with none that is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from promptmill.inference.http.errors import Malformed, NotFinite
from promptmill.inference.http.grade.reward_model import RewardModelFormat
from promptmill.inference.http.server import ServedModel
from promptmill.inference.ports import GradeRequest
from promptmill.runtime.errors import Misconfigured
from promptmill_schemas import ATTRIBUTES, AttributeScores, Message
from support.bad_answers import SCORES, chat_body, scores_text

EXPECTED = AttributeScores(**SCORES)


def entries(scores: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "content": [
            {"token": name, "bytes": None, "logprob": score, "top_logprobs": []}
            for name, score in scores.items()
        ]
    }


def recorded(**message: Any) -> dict[str, Any]:
    """The answer as it was recorded, oddities and all."""
    return {
        "id": "4fc1d1d6",
        "choices": [
            {
                "index": 0,
                "message": [{"content": scores_text(), "role": "assistant"} | message],
                "finish_reason": "length",
                "logprobs": entries(SCORES),
            }
        ],
        "created": None,
        "model": None,
        "object": None,
        "usage": {"completion_tokens": 1, "prompt_tokens": 78, "total_tokens": 79},
    }


def test_the_recorded_answer_is_read() -> None:
    assert RewardModelFormat().read(recorded()) == EXPECTED


def test_the_text_alone_is_enough() -> None:
    assert RewardModelFormat().read(chat_body(scores_text())) == EXPECTED


@pytest.mark.parametrize("content", [None, "", "not scores", []])
def test_the_log_probabilities_alone_are_enough(content: Any) -> None:
    body = chat_body(content, logprobs=entries(SCORES))
    assert RewardModelFormat().read(body) == EXPECTED


def test_order_and_spaces_do_not_matter() -> None:
    text = ", ".join(f" {name} : {SCORES[name]} " for name in reversed(ATTRIBUTES))
    assert RewardModelFormat().read(chat_body(text)) == EXPECTED


def test_nine_named_scores_are_read_by_their_names() -> None:
    nine = {"quality": 9, "toxicity": 9, "humor": 9, "creativity": 9} | SCORES
    assert RewardModelFormat().read(chat_body(scores_text(nine))) == EXPECTED


@pytest.mark.parametrize("value", ["nan", "inf", "-Infinity"])
def test_a_score_that_is_not_finite_never_passes(value: str) -> None:
    with pytest.raises(NotFinite, match="coherence"):
        RewardModelFormat().read(chat_body(scores_text(SCORES | {"coherence": value})))
    bad = entries(SCORES | {"coherence": float(value)})
    with pytest.raises(NotFinite, match="coherence"):
        RewardModelFormat().read(chat_body(None, logprobs=bad))


@pytest.mark.parametrize(
    "content",
    [
        "helpfulness:1.6",
        "helpfulness:1.6,helpfulness:2",
        "helpfulness:high,correctness:low",
        "I cannot grade this.",
        "rating: 4",
        ",,,",
    ],
)
def test_a_text_without_scores_is_malformed(content: str) -> None:
    with pytest.raises(Malformed):
        RewardModelFormat().read(chat_body(content))


@pytest.mark.parametrize("logprob", [None, True, [], {}, "x"])
def test_log_probabilities_of_another_kind_are_malformed(logprob: Any) -> None:
    with pytest.raises(Malformed):
        RewardModelFormat().read(chat_body(None, logprobs=entries(SCORES | {"verbosity": logprob})))


def test_a_score_that_is_missing_later_is_malformed() -> None:
    form = RewardModelFormat()
    form.read(chat_body(scores_text()))
    fewer = {name: score for name, score in SCORES.items() if name != "complexity"}
    with pytest.raises(Malformed, match="no complexity"):
        form.read(chat_body(scores_text(fewer)))


def test_scores_that_are_not_the_five_are_a_matter_of_settings() -> None:
    with pytest.raises(Misconfigured, match=r"--heads\.helpfulness"):
        RewardModelFormat().read(chat_body("safety:1,style:2"))


def test_a_single_reward_stands_for_the_quality_and_says_nothing_of_the_length() -> None:
    scores = RewardModelFormat().read(chat_body("reward:-18.75"))
    assert scores.helpfulness == scores.correctness == scores.coherence == -18.75
    assert scores.complexity == scores.verbosity == 0.0


def test_settings_say_what_a_single_reward_stands_for() -> None:
    scores = RewardModelFormat({"correctness": "reward"}).read(chat_body("reward:2.5"))
    assert (scores.correctness, scores.helpfulness) == (2.5, 0.0)


def test_the_answer_is_the_last_turn_of_what_is_sent() -> None:
    request = GradeRequest("1", (Message(role="user", content="Hi?"),), "Hello.")
    assert RewardModelFormat().fields(ServedModel("m", "nim"), request, 0) == {
        "model": "m",
        "messages": [
            {"role": "user", "content": "Hi?"},
            {"role": "assistant", "content": "Hello."},
        ],
        "stream": False,
    }
