"""Streams of server-sent events, put together."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from promptmill.inference.http.answer import read_answer
from promptmill.inference.http.errors import Interrupted
from promptmill.inference.http.streaming import assemble, is_stream


def stream(*chunks: Any, end: bytes = b"data: [DONE]\n\n") -> bytes:
    """The events of these chunks, with a comment before them."""
    return b": wait\n\n" + b"".join(b"data: " + orjson.dumps(c) + b"\n\n" for c in chunks) + end


def delta(finish: str | None = None, **parts: Any) -> dict[str, Any]:
    """One event with a part of the message."""
    return {"choices": [{"index": 0, "delta": parts, "finish_reason": finish}]}


USAGE = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}


def test_the_parts_of_a_message_are_joined_with_its_end_and_counts() -> None:
    raw = stream(delta(role="assistant", content=""), delta(content="Ye"), delta("stop"), USAGE)
    raw = raw.replace(
        b'{"choices":[{"index":0,"delta":{},', b'{"choices":[{"index":0,"delta":null,'
    )
    answer = read_answer("chat", assemble(raw))
    assert (answer.text, answer.finish_reason) == ("Ye", "stop")
    assert (answer.prompt_tokens, answer.completion_tokens) == (7, 3)


def test_reasoning_is_kept_apart_from_the_answer() -> None:
    raw = stream(delta(reasoning_content="Hm"), delta(reasoning_content="."), delta("stop"))
    message = assemble(raw)["choices"][0]["message"]
    assert message == {"role": "assistant", "content": None, "reasoning_content": "Hm."}


def test_reasoning_in_parts_is_kept_apart_in_a_stream_as_well() -> None:
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}
    text = {"type": "text", "text": "Ye"}
    parts = (delta(content=[thought]), delta(content=[thought, text]), delta(content="s"))
    answer = read_answer("chat", assemble(stream(*parts, delta("stop"))))
    assert (answer.text, answer.reasoning_content) == ("Yes", "HmHm")


def test_calls_of_tools_are_joined_by_their_index() -> None:
    first = {"index": 0, "id": "a", "function": {"name": "add", "arguments": '{"x"'}}
    more = {"index": 0, "function": {"arguments": ": 1}"}}
    raw = stream(delta(tool_calls=[first]), delta(tool_calls=[more]), delta("tool_calls"))
    (call,) = assemble(raw)["choices"][0]["message"]["tool_calls"]
    assert call["function"] == {"name": "add", "arguments": '{"x": 1}'}
    assert call["id"] == "a"


def test_a_completion_has_its_text() -> None:
    raw = stream(
        {"choices": [{"index": 0, "text": " y"}]},
        {"choices": [{"index": 0, "text": "es", "finish_reason": "stop"}]},
    )
    assert read_answer("completions", assemble(raw)).text == " yes"


def test_a_stream_that_ends_early_is_an_answer_that_was_broken_off() -> None:
    with pytest.raises(Interrupted):
        read_answer("chat", assemble(stream(delta(content="The sum of"), end=b"")))


def test_an_error_in_the_stream_is_the_answer() -> None:
    error = {"error": {"message": "the worker died"}}
    assert assemble(stream(delta(content="The"), error)) == error


def test_log_probabilities_and_windows_line_ends_are_read() -> None:
    chunk = delta("stop", content="a")
    chunk["choices"][0]["logprobs"] = {"content": [{"token": "a", "logprob": -0.5}]}
    answer = read_answer("chat", assemble(stream(chunk).replace(b"\n", b"\r\n")))
    assert (answer.text, answer.logprob) == ("a", -0.5)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"data: nonsense\n\n", "invalid literal"),
        (b"data: 7\n\n", "not a JSON object"),
        (b'data: {"choices": 7}\n\n', "unexpected shape"),
        (stream(delta(tool_calls=7)), "unexpected shape"),
        (stream(delta(tool_calls=[{"index": [0]}])), "unexpected shape"),
        (stream(delta(tool_calls=[{"index": 1}, {"index": "2"}])), "unexpected shape"),
    ],
)
def test_events_of_another_shape_are_refused(raw: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        assemble(raw)


def test_an_empty_stream_has_no_choices() -> None:
    assert assemble(b"") == {"choices": []}


def test_whole_calls_of_one_index_are_told_apart_and_objects_are_arguments() -> None:
    calls = [
        {"index": 0, "id": name, "function": {"name": "add", "arguments": {"x": number}}}
        for number, name in enumerate("ab")
    ]
    raw = stream(delta(tool_calls=calls), delta("tool_calls"))
    found = assemble(raw)["choices"][0]["message"]["tool_calls"]
    assert [(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in found] == [
        ("a", "add", '{"x":0}'),
        ("b", "add", '{"x":1}'),
    ]


def test_a_name_that_every_part_repeats_is_one_name() -> None:
    parts = [{"function": {"name": "add", "arguments": text}} for text in ('{"x"', ":1}")]
    raw = stream(*(delta(tool_calls=[part]) for part in parts), delta("tool_calls"))
    (call,) = assemble(raw)["choices"][0]["message"]["tool_calls"]
    assert call["function"] == {"name": "add", "arguments": '{"x":1}'}


@pytest.mark.parametrize("ends", [b"\n", b"\r", b"\r\r", b"\r\n", b"\r\n\r\n"])
def test_events_are_told_apart_with_any_line_ends(ends: bytes) -> None:
    raw = stream(delta(content="Ye"), delta(content="s"), delta("stop")).replace(b"\n\n", ends)
    assert read_answer("chat", assemble(raw)).text == "Yes"


def test_a_choice_whose_index_is_null_is_the_first() -> None:
    part = {"choices": [{"index": None, "delta": {"content": "Yes"}, "finish_reason": "stop"}]}
    assert read_answer("chat", assemble(stream(part))).text == "Yes"


@pytest.mark.parametrize(
    ("raw", "content_type", "expected"),
    [
        (b"data: {}\n\n", "text/event-stream", True),
        (b"data: {}\n\n", "application/json", True),
        (b": wait\n\ndata: {}\n\n", "text/plain", True),
        (b"", "text/event-stream", True),
        (b' {"choices": []}', "text/event-stream", False),
        (b'{"choices": []}', "application/json", False),
        (b"<html>", "text/html", False),
    ],
)
def test_a_stream_is_known_by_its_beginning(raw: bytes, content_type: str, expected: bool) -> None:
    assert is_stream(raw, content_type) is expected
