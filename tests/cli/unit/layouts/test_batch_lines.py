"""Request lines of every service's batches become the prompts that they ask for."""

from __future__ import annotations

from typing import Any

import pytest

from promptmill.cli.publish.lines import Defaults, prompt_of
from promptmill_schemas import ContractError, Prompt

MESSAGES = [{"role": "user", "content": "Q"}]
BODY = {"model": "m", "messages": MESSAGES}


def prompt(row: dict[str, Any]) -> Prompt:
    return prompt_of(row, Defaults("run"))


def with_body(**fields: Any) -> Prompt:
    return prompt({"custom_id": "c", "body": {**BODY, **fields}})


@pytest.mark.parametrize(
    "frame",
    [
        {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions"},
        {"custom_id": "1", "method": "POST", "url": "/chat/completions"},
        {"custom_id": "1", "method": "post", "url": "v1/chat/completions/"},
        {"custom_id": "1", "method": "POST", "url": "chat/completions"},
        {"custom_id": "1", "url": "https://api.example.com/v1/chat/completions?api-version=1"},
        {"custom_id": "1", "url": "/openai/deployments/d/chat/completions"},
        {"custom_id": 1},
        {"custom_id": "1", "method": None, "url": None},
    ],
    ids=str,
)
def test_the_frames_of_all_services_ask_the_same(frame: dict[str, Any]) -> None:
    made = prompt({**frame, "body": BODY})
    assert made.tags == {"custom_id": "1"}
    assert made.messages[0].content == "Q"


def test_an_id_may_be_absent() -> None:
    assert prompt({"body": BODY}).tags == {}


@pytest.mark.parametrize("url", ["/v1/embeddings", "/v1/completions", "/v1/responses", "", 7])
def test_another_kind_of_request_is_refused(url: Any) -> None:
    with pytest.raises(ContractError) as caught:
        prompt({"custom_id": "c", "url": url, "body": BODY})
    assert caught.value.field == "url"
    assert "chat" in caught.value.remedy


@pytest.mark.parametrize("top_k", [-1, 0, None])
def test_all_tokens_may_be_asked_for(top_k: int | None) -> None:
    assert with_body(top_k=top_k).sampling.top_k is None


def test_what_only_some_servers_know_reaches_them_in_the_body() -> None:
    made = with_body(reasoning_effort="low", tool_choice="auto")
    assert made.extra_body == {"reasoning_effort": "low", "tool_choice": "auto"}


def test_arguments_of_the_template_tools_and_seeds_are_kept() -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    kwargs = {"enable_thinking": False}
    made = with_body(chat_template_kwargs=kwargs, tools=tools, random_seed=3)
    assert made.chat_template_kwargs == kwargs
    assert made.tools == tuple(tools)
    assert made.sampling.seed == 3


def test_the_strictness_of_a_schema_is_kept() -> None:
    schema = {"name": "x", "schema": {"type": "array"}, "strict": True}
    made = with_body(response_format={"type": "json_schema", "json_schema": schema})
    assert made.sampling.structured is not None
    assert made.sampling.structured.strict is True


def test_a_field_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ContractError) as caught:
        with_body(temprature=0.5)
    assert caught.value.field == "body.temprature"


def test_nulls_of_a_message_are_absent() -> None:
    nulls = dict.fromkeys(("name", "tool_calls", "tool_call_id", "reasoning_content"))
    made = with_body(messages=[{**MESSAGES[0], **nulls}])
    assert made.prompt_id == with_body().prompt_id


@pytest.mark.parametrize(
    ("body", "structured"),
    [
        ({"guided_choice": ["a", "b"]}, {"choice": ("a", "b")}),
        ({"guided_regex": "a+"}, {"regex": "a+"}),
        ({"guided_json": {"type": "object"}}, {"json_schema": {"type": "object"}}),
        ({"guided_json": '{"type": "object"}'}, {"json_schema": {"type": "object"}}),
        ({"structured_outputs": {"choice": ["a", "b"]}}, {"choice": ("a", "b")}),
        (
            {"response_format": {"type": "json_object", "schema": {"type": "object"}}},
            {"json_schema": {"type": "object"}},
        ),
        (
            {"response_format": {"type": "json_schema", "schema": {"type": "object"}}},
            {"json_schema": {"type": "object"}},
        ),
    ],
    ids=str,
)
def test_structures_of_every_service_are_kept(
    body: dict[str, Any], structured: dict[str, Any]
) -> None:
    made = with_body(**body).sampling.structured
    assert made is not None
    assert made.model_dump(exclude_defaults=True) == structured


def test_two_structures_at_once_are_refused_with_their_name() -> None:
    with pytest.raises(ContractError, match="structured_outputs"):
        with_body(structured_outputs={"choice": ["a"], "regex": "a"})


@pytest.mark.parametrize(
    "body",
    [
        {"echo": False, "use_beam_search": False, "best_of": 1},
        {"request_id": "x", "return_token_ids": False, "prediction": {"content": "x"}},
    ],
)
def test_fields_that_change_nothing_are_left_out(body: dict[str, Any]) -> None:
    assert with_body(**body).prompt_id == with_body().prompt_id


@pytest.mark.parametrize(("logprobs", "expected"), [(1, True), (0, False), (True, True)])
def test_a_number_of_log_probabilities_asks_for_them(logprobs: Any, expected: bool) -> None:
    assert with_body(logprobs=logprobs).sampling.logprobs is expected


@pytest.mark.parametrize("name", ["include_stop_str_in_output", "enable_thinking"])
def test_more_fields_of_servers_reach_them_in_the_body(name: str) -> None:
    assert with_body(**{name: True}).extra_body == {name: True}
