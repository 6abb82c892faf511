"""Turns, tools and calls in the format of the chat API."""

from __future__ import annotations

from typing import Any

import pytest

from promptmill.inference.http.answer import read_answer
from promptmill.inference.http.chat import chat_messages, prompt_fields
from promptmill.inference.http.errors import Malformed
from promptmill.runtime.errors import Poison
from promptmill_schemas import FunctionCall, Message, ToolCall

TOOL = {"type": "function", "function": {"name": "add"}}


def reply(**message: Any) -> dict[str, Any]:
    return {"choices": [{"message": message, "finish_reason": "tool_calls"}]}


def test_turns_keep_their_fields_and_calls_get_the_id_that_servers_require() -> None:
    call = ToolCall(function=FunctionCall(name="add", arguments='{"a":1}'))
    sent = chat_messages(
        [
            Message(role="developer", content="Be brief."),
            Message(role="assistant", tool_calls=(call,), reasoning_content="Hm."),
            Message(role="tool", content="3", tool_call_id="call_0"),
        ]
    )
    assert sent == [
        {"role": "developer", "content": "Be brief."},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "call_0",
                    "type": "function",
                    "function": {"name": "add", "arguments": '{"a":1}'},
                }
            ],
            "reasoning_content": "Hm.",
        },
        {"role": "tool", "content": "3", "tool_call_id": "call_0"},
    ]


def test_a_prompts_fields_are_sent_and_its_own_arguments_win() -> None:
    body = {"reasoning_effort": "low", "chat_template_kwargs": {"a": 1, "b": 2}}
    assert prompt_fields((TOOL,), {"b": 3}, body) == {
        "reasoning_effort": "low",
        "chat_template_kwargs": {"a": 1, "b": 3},
        "tools": [TOOL],
    }
    assert prompt_fields(None, None, None) == {}


def test_an_extra_body_cannot_replace_what_promptmill_sets() -> None:
    with pytest.raises(Poison, match="extra_body has messages, n, which promptmill sets"):
        prompt_fields(None, None, {"n": 3, "messages": []})


def test_calls_of_an_answer_are_read() -> None:
    sent = {"id": "x", "index": 0, "type": "function", "function": {"name": "add"}}
    (call,) = read_answer("chat", reply(content=None, tool_calls=[sent])).tool_calls or ()
    assert (call.id, call.function.name, call.function.arguments) == ("x", "add", "{}")
    assert read_answer("chat", reply(content="x", tool_calls=[])).tool_calls is None


@pytest.mark.parametrize("calls", ["add", [{"function": {}}], [1]])
def test_calls_that_are_none_are_malformed(calls: Any) -> None:
    with pytest.raises(Malformed, match="tool_calls"):
        read_answer("chat", reply(content="x", tool_calls=calls))


def test_results_get_the_ids_of_the_calls_that_they_answer() -> None:
    calls = tuple(
        ToolCall(id=name, function=FunctionCall(name="add", arguments="{}")) for name in (None, "b")
    )
    sent = chat_messages(
        [
            Message(role="assistant", tool_calls=calls),
            Message(role="tool", content="2", tool_call_id="b"),
            Message(role="tool", content="1"),
            Message(role="tool", content="0"),
        ]
    )
    assert [turn.get("tool_call_id") for turn in sent] == [None, "b", "call_0", None]


@pytest.mark.parametrize(("content", "text"), [([], ""), (["a", "b"], "ab")])
def test_parts_may_be_texts_or_none(content: Any, text: str) -> None:
    reply = {"choices": [{"message": {"content": content}, "finish_reason": "stop"}]}
    assert read_answer("chat", reply).text == text
