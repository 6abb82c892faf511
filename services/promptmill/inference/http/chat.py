"""Turns, tools and calls in the format of the chat API, in and out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from promptmill.inference.http.errors import Malformed
from promptmill.runtime.errors import Poison
from promptmill_schemas import ContractError, Message, ToolCall
from promptmill_schemas.base import validate

OURS: Final = {"model", "messages", "prompt", "n", "stream", "stream_options"}
"""Fields of a request that neither a setting nor a prompt may change."""


_REASONING: Final = ("reasoning_content", "reasoning")
"""The two names that servers use."""

_TEXT_PARTS: Final = {"text", "output_text"}
_REASONING_PARTS: Final = {"thinking", "reasoning", "reasoning_text", "reasoning_content"}
"""The types of content parts, as Mistral, Anthropic and gateways before other models name them."""

_NAMES_OF_REASONING: Final = ("thinking", "reasoning", "reasoning_content", "text", "content")


def chat_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The messages in the format of the chat API.

    Servers require the ids that rows of data sets often lack: calls get one each, and results that
    of the first call that has none.
    """
    turns: list[dict[str, Any]] = []
    open_calls: list[str] = []
    for message in messages:
        turn = _turn(message)
        if message.role == "assistant":
            open_calls = [call["id"] for call in turn.get("tool_calls", ())]
        elif message.role == "tool" and open_calls:
            answered = turn.setdefault("tool_call_id", open_calls[0])
            open_calls = [call for call in open_calls if call != answered]
        turns.append(turn)
    return turns


def prompt_fields(
    tools: Sequence[Mapping[str, Any]] | None,
    chat_template_kwargs: Mapping[str, Any] | None,
    extra_body: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The fields that a prompt adds to its request.

    Raises:
        Poison: ``extra_body`` has a field that promptmill sets itself.
    """
    extra = dict(extra_body or {})
    if ours := sorted(OURS & extra.keys()):
        raise Poison(
            f"extra_body has {', '.join(ours)}, which promptmill sets itself: remove it from the "
            "prompt"
        )
    if tools:
        extra["tools"] = list(tools)
    if chat_template_kwargs:
        more = extra.get("chat_template_kwargs")
        inner = more if isinstance(more, dict) else {}
        extra["chat_template_kwargs"] = {**inner, **chat_template_kwargs}
    return extra


def reasoning_of(message: Mapping[str, Any]) -> str | None:
    """The reasoning of an answer; ``None`` if the server does not send it apart."""
    found = (message.get(name) for name in _REASONING)
    text = next((text for text in found if isinstance(text, str)), None)
    content = message.get("content")
    return split_parts(content)[1] if text is None and isinstance(content, list) else text


def split_parts(parts: Sequence[Any]) -> tuple[str | None, str | None]:
    """The text and the reasoning in content parts; each is ``None`` if no part has it."""
    texts: list[str] = []
    thoughts: list[str] = []
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
            continue
        kind = part.get("type", "text") if isinstance(part, dict) else None
        if kind in _TEXT_PARTS and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind in _REASONING_PARTS:
            thoughts.append(_reasoning_in(part))
    return "".join(texts) if texts else None, "".join(thoughts) if thoughts else None


def _reasoning_in(part: Mapping[str, Any]) -> str:
    """The text of a part with reasoning, which may be a list of parts itself."""
    value = next((part[name] for name in _NAMES_OF_REASONING if part.get(name)), "")
    if isinstance(value, list):
        inner = (item.get("text") if isinstance(item, dict) else item for item in value)
        return "".join(text for text in inner if isinstance(text, str))
    return value if isinstance(value, str) else ""


def tool_calls_of(message: Mapping[str, Any]) -> tuple[ToolCall, ...] | None:
    """The calls of an answer; ``None`` if there are none.

    Raises:
        Malformed: a call has no name or no arguments.
    """
    calls = message.get("tool_calls")
    if not calls:
        return None
    if not isinstance(calls, list):
        raise Malformed("choices.0.message.tool_calls is not a list")
    try:
        return tuple(validate(ToolCall, _known(call)) for call in calls)
    except ContractError as error:
        raise Malformed(f"choices.0.message.tool_calls: {error}") from error


def reasoning_tokens(usage: Any) -> int | None:
    """How many of the answer's tokens are reasoning; ``None`` if the server does not say."""
    details = usage.get("completion_tokens_details") if isinstance(usage, dict) else None
    count = details.get("reasoning_tokens") if isinstance(details, dict) else None
    good = isinstance(count, int) and not isinstance(count, bool) and count >= 0
    return count if good else None


def _turn(message: Message) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls is not None:
        turn["content"] = message.content or None
        turn["tool_calls"] = [_call(call, i) for i, call in enumerate(message.tool_calls)]
    for name in ("name", "tool_call_id", "reasoning_content"):
        if (value := getattr(message, name)) is not None:
            turn[name] = value
    return turn


def _call(call: ToolCall, index: int) -> dict[str, Any]:
    """A call for the request, with an id."""
    function = {"name": call.function.name, "arguments": call.function.arguments}
    return {"id": call.id or f"call_{index}", "type": call.type, "function": function}


def _known(call: Any) -> Any:
    """The fields of a call that the contract has; servers add an index and nulls."""
    if not isinstance(call, dict):
        return call
    function = call.get("function")
    if isinstance(function, dict):
        arguments = function.get("arguments")
        function = {"name": function.get("name"), "arguments": arguments or "{}"}
    return {"id": call.get("id") or None, "function": function}
