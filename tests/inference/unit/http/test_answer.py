"""Answers as servers really send them, and as they should not."""

from __future__ import annotations

from typing import Any

import pytest

from promptmill.inference.http.answer import check_structured_output, read_answer
from promptmill.inference.http.errors import Interrupted, Malformed, NotFinite
from promptmill_schemas import StructuredOutput
from support.bad_answers import chat_body


def test_a_plain_answer_is_read_with_its_counts() -> None:
    answer = read_answer("chat", chat_body("Hello.", finish_reason="length"))
    assert (answer.text, answer.finish_reason) == ("Hello.", "length")
    assert (answer.prompt_tokens, answer.completion_tokens, answer.logprob) == (7, 3, None)


@pytest.mark.parametrize(
    "thought",
    [
        {"type": "reasoning", "text": "Hm."},
        {"type": "reasoning", "reasoning": "Hm."},
        {"type": "thinking", "thinking": "Hm.", "signature": "x"},
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}, {"text": "."}, 3]},
    ],
    ids=repr,
)
def test_content_in_parts_is_split_into_answer_and_reasoning(thought: dict[str, Any]) -> None:
    texts = [{"type": "text", "text": "One, "}, {"type": "text", "text": "two."}]
    answer = read_answer("chat", chat_body([thought, *texts]))
    assert (answer.text, answer.reasoning_content) == ("One, two.", "Hm.")
    only = read_answer("chat", chat_body([thought], finish_reason="length"))
    assert (only.text, only.reasoning_content, only.finish_reason) == ("", "Hm.", "length")


@pytest.mark.parametrize("part", [{"type": "thinking"}, {"type": "thinking", "thinking": 7}])
def test_an_empty_thought_is_a_reasoning_that_is_empty(part: dict[str, Any]) -> None:
    answer = read_answer("chat", chat_body([part, {"type": "text", "text": "One."}]))
    assert (answer.text, answer.reasoning_content) == ("One.", "")


def test_reasoning_beside_the_content_wins_over_that_in_parts() -> None:
    parts = [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "One."}]
    body = chat_body(parts)
    body["choices"][0]["message"]["reasoning_content"] = "Whole."
    assert read_answer("chat", body).reasoning_content == "Whole."


def test_a_message_in_a_list_of_one_is_a_message() -> None:
    body = chat_body("Hello.")
    body["choices"][0]["message"] = [body["choices"][0]["message"]]
    assert read_answer("chat", body).text == "Hello."


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_no_content_is_an_empty_answer_where_the_reason_says_why(reason: str) -> None:
    assert read_answer("chat", chat_body(None, finish_reason=reason)).text == ""


def test_no_content_is_an_empty_answer_where_only_the_end_was_generated() -> None:
    body = chat_body(None) | {"usage": {"prompt_tokens": 3, "completion_tokens": 1}}
    assert read_answer("chat", body).text == ""


@pytest.mark.parametrize("usage", [None, {}, {"completion_tokens": -1}, {"prompt_tokens": "7"}, 3])
def test_a_server_that_does_not_count_leaves_zeros(usage: Any) -> None:
    answer = read_answer("chat", chat_body("Hello.") | {"usage": usage})
    assert (answer.prompt_tokens, answer.completion_tokens) == (0, 0)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("eos_token", "stop"),
        ("stop_sequence", "stop"),
        ("end_turn", "stop"),
        ("STOP", "stop"),
        ("max_tokens", "length"),
        ("model_length", "length"),
        ("MAX_TOKENS", "length"),
        ("content_filter", "content_filter"),
        ("SAFETY", "content_filter"),
        ("refusal", "refusal"),
        ("tool_use", "tool_calls"),
    ],
)
def test_the_words_of_servers_mean_the_same_everywhere(word: str, reason: str) -> None:
    assert read_answer("chat", chat_body("Hello.", finish_reason=word)).finish_reason == reason


@pytest.mark.parametrize(
    "word", ["abort", "error", "insufficient_system_resource", None, "", "done", 7, ["stop"]]
)
def test_an_answer_whose_end_is_not_known_may_be_incomplete(word: Any) -> None:
    with pytest.raises(Interrupted, match="may be incomplete"):
        read_answer("chat", chat_body("The sum of", finish_reason=word))
    choice = {"text": "The sum of", "finish_reason": word}
    with pytest.raises(Interrupted):
        read_answer("completions", {"choices": [choice]})


def test_log_probabilities_are_summed_over_the_tokens() -> None:
    entries = [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -1.25}]
    body = chat_body("ab", logprobs={"content": entries})
    assert read_answer("chat", body).logprob == -1.75


@pytest.mark.parametrize("entries", [None, 7, True, [], "ab", ["a"], [{}]])
def test_log_probabilities_of_another_shape_are_none(entries: object) -> None:
    body = chat_body("ab", logprobs={"content": entries})
    assert read_answer("chat", body).logprob is None


def test_a_completion_has_its_text_beside_its_log_probabilities() -> None:
    choice = {"text": "ab", "finish_reason": "stop", "logprobs": {"token_logprobs": [-1, -2.0]}}
    answer = read_answer("completions", {"choices": [choice], "usage": None})
    assert (answer.text, answer.logprob) == ("ab", -3.0)


def test_log_probabilities_that_are_no_numbers_are_refused() -> None:
    body = chat_body("a", logprobs={"content": [{"logprob": float("nan")}]})
    with pytest.raises(NotFinite, match="logprobs"):
        read_answer("chat", body)


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "text",
        {},
        {"choices": None},
        {"choices": []},
        {"choices": [None]},
        {"choices": [{}]},
        {"choices": [{"message": None}]},
        {"choices": [{"message": []}]},
        {"choices": [{"message": {}}]},
        chat_body(None, finish_reason=None),
        chat_body(7),
        chat_body([{"type": "image_url"}]),
    ],
)
def test_a_reply_without_an_answer_is_malformed(body: Any) -> None:
    with pytest.raises(Malformed):
        read_answer("chat", body)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (chat_body(None, message={"content": None, "refusal": "I cannot."}), "refusal"),
        (chat_body(None, finish_reason="content_filter"), "content_filter"),
        (chat_body(None, finish_reason="length"), "length"),
        (chat_body(None, finish_reason="tool_calls"), "tool_calls"),
        (chat_body(None, message={"content": None, "reasoning_content": "Hm."}), "stop"),
        (chat_body(""), "stop"),
    ],
)
def test_what_a_server_leaves_out_on_purpose_is_an_empty_answer(body: Any, reason: str) -> None:
    answer = read_answer("chat", body)
    assert (answer.text, answer.finish_reason) == ("", reason)


def test_an_answer_outside_its_form_is_refused_with_the_remedy() -> None:
    choice = StructuredOutput(choice=("yes", "no"))
    check_structured_output("yes", choice)
    with pytest.raises(Malformed, match="--server"):
        check_structured_output("Yes!", choice)
    schema = StructuredOutput(json_schema={"type": "object"})
    check_structured_output('{"a": 1}', schema)
    with pytest.raises(Malformed, match="is not JSON"):
        check_structured_output("Sure: {}", schema)
    anything = StructuredOutput(json_object=True)
    check_structured_output("{}", anything)
    with pytest.raises(Malformed, match="is not a JSON object"):
        check_structured_output("[]", anything)
