"""Parsing of chat and text completions; every field is checked."""

from __future__ import annotations

import math
from typing import Any

from promptmill.inference.http.chat import (
    reasoning_of,
    reasoning_tokens,
    split_parts,
    tool_calls_of,
)
from promptmill.inference.http.errors import Interrupted, Malformed, NotFinite, Unreadable
from promptmill.inference.http.json_text import parse_json
from promptmill.inference.http.options import Api
from promptmill.inference.ports import Answer
from promptmill_schemas import StructuredOutput
from promptmill_schemas.finish_reasons import WITHHELD, FinishReason, finish_reason_of

_MAX_TOKENS = 1 << 31
_NO_RESOURCES = "insufficient_system_resource"
_IGNORED_BY_SERVER = "the server ignores sampling.structured; name the kind of server with --server"


def read_answer(api: Api, reply: Any) -> Answer:
    """Parse the answer in a reply.

    A reply without text but with a known finish reason is an empty answer: the model refused, a
    content filter acted, the context was full, or the model only reasoned.

    Raises:
        Malformed: the reply does not follow the API's schema.
        Interrupted: the finish reason is missing or unknown, so the answer may be incomplete.
    """
    choice = first_choice(reply)
    usage = reply.get("usage")
    text = _text(api, choice)
    if text is None and not choice.get("finish_reason"):
        raise Malformed(
            f"the first choice has neither a text nor a finish reason: {_brief(choice)}"
        )
    reason = finish_reason(choice)
    message = _message(choice) if api == "chat" else {}
    return Answer(
        text=text or "",
        finish_reason=reason,
        prompt_tokens=_tokens(usage, "prompt_tokens"),
        completion_tokens=_tokens(usage, "completion_tokens"),
        logprob=_logprob(api, choice.get("logprobs")),
        tool_calls=tool_calls_of(message),
        reasoning_content=reasoning_of(message),
        reasoning_tokens=reasoning_tokens(usage),
    )


def first_choice(reply: Any) -> dict[str, Any]:
    """The first element of ``choices``; raises ``Malformed`` if there is none."""
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise Malformed(f"the answer has no choices: {_brief(reply)}")
    choice: dict[str, Any] = choices[0]
    return choice


def content_of(choice: dict[str, Any]) -> str | None:
    """The text of the message; ``None`` if the message has no content.

    The message is an object, or a list that contains one object. Its content is a string, or a
    list of parts, of which those of type ``text`` are joined and those with reasoning left out.
    """
    content = _message(choice).get("content")
    if isinstance(content, list):
        return _joined(content)
    if content is None or isinstance(content, str):
        return content
    raise Malformed(f"choices.0.message.content is not text: {_brief(content)}")


def refusal_of(choice: dict[str, Any]) -> str | None:
    """The reason why the model or server refused to answer; ``None`` if it did not refuse."""
    refusal = _message(choice).get("refusal")
    if isinstance(refusal, str) and refusal.strip():
        return refusal.strip()
    reason = finish_reason_of(choice.get("finish_reason"))
    return reason if reason in WITHHELD else None


def finish_reason(choice: dict[str, Any]) -> FinishReason:
    """How the answer ended; a refusal is one whatever the server reports, as OpenAI's ``stop``.

    Raises:
        Interrupted: the server's word is missing or unknown, so the answer may be incomplete.
    """
    if "message" in choice and _message(choice).get("refusal"):
        return "refusal"
    word = choice.get("finish_reason")
    if (reason := finish_reason_of(word)) is not None:
        return reason
    raise Interrupted(
        f"the server ended the answer with finish reason {_brief(word)}, so it may be incomplete",
        overload=word == _NO_RESOURCES,
    )


def _message(choice: dict[str, Any]) -> dict[str, Any]:
    message = choice.get("message")
    if isinstance(message, list) and len(message) == 1:
        message = message[0]
    if not isinstance(message, dict):
        raise Malformed(f"choices.0.message is not an object: {_brief(message)}")
    return message


def check_structured_output(text: str, structured: StructuredOutput) -> None:
    """Check that the answer has the requested structure, since servers ignore unknown fields.

    A regular expression is not checked, because the servers' dialects differ from Python's.

    Raises:
        Unreadable: the text is not one of the choices, or is not JSON, or not a JSON object.
    """
    if structured.choice is not None and text not in structured.choice:
        raise Unreadable(
            f"the answer {_brief(text)} is not one of the choices: {_IGNORED_BY_SERVER}"
        )
    if structured.json_schema is not None or structured.json_object:
        try:
            value = parse_json(text.encode())
        except ValueError as error:
            raise Unreadable(f"the answer is not JSON ({error}): {_IGNORED_BY_SERVER}") from None
        if structured.json_object and not isinstance(value, dict):
            raise Unreadable(
                f"the answer {_brief(text)} is not a JSON object: {_IGNORED_BY_SERVER}"
            )


def _text(api: Api, choice: dict[str, Any]) -> str | None:
    if api == "chat":
        return content_of(choice)
    text = choice.get("text")
    if text is None or isinstance(text, str):
        return text
    raise Malformed(f"choices.0.text is not text: {_brief(text)}")


def _joined(parts: list[Any]) -> str:
    """The texts of the parts; empty if the model only reasoned."""
    text, reasoning = split_parts(parts)
    if parts and text is None and reasoning is None:
        raise Malformed(f"choices.0.message.content has no text part: {_brief(parts)}")
    return text or ""


def _tokens(usage: Any, name: str) -> int:
    """A token count; 0 if the server does not report one."""
    count = usage.get(name) if isinstance(usage, dict) else None
    good = isinstance(count, int) and not isinstance(count, bool) and 0 <= count < _MAX_TOKENS
    return int(count) if good and count is not None else 0


def _logprob(api: Api, logprobs: Any) -> float | None:
    """The sum of the tokens' log-probabilities; ``None`` if the server does not report them."""
    if not isinstance(logprobs, dict):
        return None
    if api == "completions":
        values = logprobs.get("token_logprobs")
    else:
        entries = logprobs.get("content")
        found = entries if isinstance(entries, list) else []
        values = [e.get("logprob") for e in found if isinstance(e, dict)] or None
    if not isinstance(values, list) or not all(isinstance(v, int | float) for v in values):
        return None
    total = math.fsum(values)
    if not math.isfinite(total):
        raise NotFinite("the sum of logprobs is not a finite number")
    return total


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
