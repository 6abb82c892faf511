"""A streamed answer, put together as the server would have sent it in one piece."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from promptmill.inference.http.chat import split_parts
from promptmill.inference.http.json_text import parse_json

_TEXTS = ("content", "reasoning", "reasoning_content", "refusal")
_DONE = b"[DONE]"
_EVENTS = "text/event-stream"
_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")


def is_stream(raw: bytes, content_type: str) -> bool:
    """Whether a body is a stream of events; its beginning counts more than its type."""
    begun = raw[:64].lstrip()
    return begun.startswith(_FIELDS) or (
        content_type == _EVENTS and not begun.startswith((b"{", b"["))
    )


def assemble(raw: bytes) -> Any:
    """The answer of a stream of server-sent events.

    An error in the stream is returned as the body of an error. A stream that ends early has no
    finish reason, as an answer that was broken off.

    Raises:
        ValueError: an event is not a JSON object, or its parts have other types than they should.
    """
    try:
        return _assembled(raw)
    except TypeError as error:
        raise ValueError(f"an event of the stream has an unexpected shape: {error}") from error


def _assembled(raw: bytes) -> Any:
    answer = _Answer()
    for event in _events(raw):
        chunk = parse_json(event)
        if not isinstance(chunk, dict):
            raise ValueError("an event of the stream is not a JSON object")  # noqa: TRY004
        if chunk.get("error") or chunk.get("object") == "error":
            return chunk
        answer.add(chunk)
    return answer.body()


def _events(raw: bytes) -> Iterator[bytes]:
    """The data of each event; comments, names of events and the last mark are left out."""
    for block in raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n\n"):
        lines = [line[5:].strip() for line in block.split(b"\n") if line.startswith(b"data:")]
        # Some servers leave out the empty line between events, each of which is an object.
        are_events = len(lines) > 1 and all(line[:1] == b"{" or line == _DONE for line in lines)
        for data in lines if are_events else [b"\n".join(lines)]:
            if data and data != _DONE:
                yield data


class _Answer:
    """What has arrived of the first choice."""

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._choice: dict[str, Any] = {}
        self._texts: dict[str, list[str]] = {}
        self._calls: dict[int, dict[str, Any]] = {}
        self._logprobs: list[Any] = []
        self._has_choice = False

    def add(self, chunk: dict[str, Any]) -> None:
        """Add the content of one event."""
        for name in ("id", "model", "usage"):
            if chunk.get(name):
                self._head[name] = chunk[name]
        for choice in chunk.get("choices") or ():
            if isinstance(choice, dict) and not choice.get("index"):
                self._add_choice(choice)

    def body(self) -> dict[str, Any]:
        """The body of the whole answer."""
        if not self._has_choice:
            return {**self._head, "choices": []}
        joined = {name: "".join(parts) for name, parts in self._texts.items()}
        choice = {"index": 0, "finish_reason": None, **self._choice}
        if "text" in joined:
            choice["text"] = joined.pop("text")
        message: dict[str, Any] = {"role": "assistant", "content": None, **joined}
        if self._calls:
            message["tool_calls"] = [self._calls[index] for index in sorted(self._calls)]
        if self._logprobs:
            choice["logprobs"] = {"content": self._logprobs}
        if "text" not in choice:
            choice["message"] = message
        return {**self._head, "choices": [choice]}

    def _add_choice(self, choice: dict[str, Any]) -> None:
        self._has_choice = True
        for name in ("finish_reason", "error"):
            if choice.get(name):
                self._choice[name] = choice[name]
        self._add_text("text", choice.get("text"))
        delta = choice.get("delta") or choice.get("message")
        if isinstance(delta, dict):
            for name in _TEXTS:
                self._add_text(name, delta.get(name))
            if isinstance(parts := delta.get("content"), list):
                text, reasoning = split_parts(parts)
                self._add_text("content", text)
                self._add_text("reasoning_content", reasoning)
            for call in delta.get("tool_calls") or ():
                self._add_call(call)
        logprobs = choice.get("logprobs")
        entries = logprobs.get("content") if isinstance(logprobs, dict) else None
        if isinstance(entries, list):
            self._logprobs += entries

    def _add_text(self, name: str, text: Any) -> None:
        if isinstance(text, str):
            self._texts.setdefault(name, []).append(text)

    def _add_call(self, call: Any) -> None:
        """Merge a part of a call: its name comes first, its arguments come in pieces.

        Servers that send calls whole may give them all the same index, and arguments as an object.
        """
        if not isinstance(call, dict):
            return
        index = call.get("index") or 0
        if call.get("id") and self._calls.get(index, call).get("id", call["id"]) != call["id"]:
            index = max(self._calls) + 1
        whole = self._calls.setdefault(index, {"type": "function", "function": {}})
        if call.get("id"):
            whole["id"] = call["id"]
        function = call.get("function")
        for name, part in (function if isinstance(function, dict) else {}).items():
            text = orjson.dumps(part).decode() if isinstance(part, dict) else part
            before = whole["function"].get(name, "")
            if isinstance(text, str) and not (name == "name" and text == before):
                whole["function"][name] = before + text
