"""The setting ``thinking``, and how each engine and server is told."""

from __future__ import annotations

from typing import Any

import pytest

from promptmill.inference.http.settings import ServerSettings
from promptmill.inference.thinking import Thinking, as_effort, filled_in, read_thinking
from promptmill.runtime.errors import Misconfigured

FLAGS = {"enable_thinking": True, "thinking": True}


@pytest.mark.parametrize(
    ("text", "thinking"),
    [
        ("", None),
        ("on", Thinking(is_on=True)),
        ("OFF", Thinking(is_on=False)),
        (" 2048 ", Thinking(is_on=True, budget=2048)),
    ],
)
def test_thinking_is_on_off_or_a_budget(text: str, thinking: Thinking | None) -> None:
    assert read_thinking(text) == thinking


@pytest.mark.parametrize("text", ["yes", "0", "-1", "1.5", "9999999999"])
def test_anything_else_is_refused_with_the_choices(text: str) -> None:
    with pytest.raises(Misconfigured, match="it can be on, off, or a budget"):
        read_thinking(text)


@pytest.mark.parametrize(
    ("server", "fields"),
    [
        (
            "vllm",
            {
                "chat_template_kwargs": FLAGS | {"thinking_budget": 512},
                "thinking_token_budget": 512,
            },
        ),
        (
            "nim",
            {
                "chat_template_kwargs": FLAGS | {"thinking_budget": 512},
                "nvext": {"max_thinking_tokens": 512},
            },
        ),
        ("openai", {"reasoning_effort": "low"}),
        ("generic", {"chat_template_kwargs": FLAGS | {"thinking_budget": 512}}),
    ],
)
def test_each_kind_of_server_is_told_a_budget_in_its_own_way(
    server: str, fields: dict[str, Any]
) -> None:
    assert Thinking(is_on=True, budget=512).fields(server) == fields


@pytest.mark.parametrize(
    ("thinking", "effort"),
    [
        (Thinking(is_on=False), "none"),
        (Thinking(is_on=True), "medium"),
        (Thinking(is_on=True, budget=1024), "low"),
        (Thinking(is_on=True, budget=8192), "medium"),
        (Thinking(is_on=True, budget=8193), "high"),
    ],
)
def test_an_effort_stands_for_a_budget(thinking: Thinking, effort: str) -> None:
    assert thinking.fields("openai") == {"reasoning_effort": effort}
    body = thinking.fields("generic") | {"model": "m"}
    as_effort(body)
    assert body == {"reasoning_effort": effort, "model": "m"}


def test_other_arguments_of_a_template_stay() -> None:
    body: dict[str, Any] = {"chat_template_kwargs": FLAGS | {"tone": "dry"}}
    as_effort(body)
    assert body["chat_template_kwargs"] == {"tone": "dry"}
    untouched = {"chat_template_kwargs": {"tone": "dry"}}
    as_effort(untouched)
    assert untouched == {"chat_template_kwargs": {"tone": "dry"}}


def test_a_request_keeps_its_own_fields_unless_they_are_neutral() -> None:
    body = {"top_k": -1, "seed": 1, "nvext": {"top_k": 5}}
    more = {"top_k": 20, "seed": 2, "nvext": {"top_k": 9, "x": 1}, "tier": "gold"}
    assert filled_in(body, more, {"top_k": -1}) == {
        "top_k": 20,
        "seed": 1,
        "nvext": {"top_k": 5, "x": 1},
        "tier": "gold",
    }


def test_a_field_that_is_ours_is_refused_in_the_extra_body() -> None:
    settings = ServerSettings.model_construct(extra_body={"n": 4, "tier": "gold"})
    with pytest.raises(Misconfigured, match="extra_body has n"):
        settings.http_options()
