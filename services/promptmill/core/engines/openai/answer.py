"""What a chat or completion answer holds; nothing in it is taken on trust."""

from __future__ import annotations

import math
from typing import Any

from promptmill.core.engines.base import Answer
from promptmill.core.engines.openai.failures import Malformed, NotFinite
from promptmill.core.engines.openai.options import Api
from promptmill.core.engines.openai.transport import parse_json
from promptmill_schemas import StructuredOutput

UNKNOWN = "unknown"
"""The finish reason of a server that gives none."""

_WITHOUT_TEXT = {"length", "content_filter"}
_MOST_TOKENS = 1 << 31


def read_answer(api: Api, reply: Any) -> Answer:
    """The one answer in a reply.

    Raises:
        Malformed: the reply has another form than the API promises.
    """
    choice = first_choice(reply)
    usage = reply.get("usage")
    reason = choice.get("finish_reason")
    generated = _tokens(usage, "completion_tokens")
    return Answer(
        text=_text(api, choice, may_be_empty=reason in _WITHOUT_TEXT or generated == 1),
        finish_reason=reason if isinstance(reason, str) and reason else UNKNOWN,
        prompt_tokens=_tokens(usage, "prompt_tokens"),
        completion_tokens=generated,
        logprob=_logprob(api, choice.get("logprobs")),
    )


def first_choice(reply: Any) -> dict[str, Any]:
    """The first of ``choices``; raises ``Malformed`` when there is none."""
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise Malformed(f"the answer has no choices: {_brief(reply)}")
    choice: dict[str, Any] = choices[0]
    return choice


def content_of(choice: dict[str, Any]) -> str | None:
    """The message's text, ``None`` when there is none.

    A message is an object, or a list with that one object; its content is a text, or a list of
    parts of which those of type ``text`` count.
    """
    message = choice.get("message")
    if isinstance(message, list) and len(message) == 1:
        message = message[0]
    if not isinstance(message, dict):
        raise Malformed(f"choices.0.message is no object: {_brief(message)}")
    content = message.get("content")
    if isinstance(content, list):
        return _joined(content)
    if content is None or isinstance(content, str):
        return content
    raise Malformed(f"choices.0.message.content is no text: {_brief(content)}")


def require_form(text: str, form: StructuredOutput) -> None:
    """Refuse an answer that the server has not held to its form.

    Servers ignore fields that they do not know. An expression is not checked here: theirs are
    of another dialect.

    Raises:
        Malformed: with the remedy.
    """
    if form.choice is not None and text not in form.choice:
        raise Malformed(f"the answer {_brief(text)} is none of the choices: {_UNHEARD}")
    if form.json_schema is not None:
        try:
            parse_json(text.encode())
        except ValueError as error:
            raise Malformed(f"the answer is no JSON ({error}): {_UNHEARD}") from None


_UNHEARD = "the server does not heed sampling.structured; name its kind with --server"


def _text(api: Api, choice: dict[str, Any], *, may_be_empty: bool) -> str:
    text = choice.get("text") if api == "completions" else content_of(choice)
    if isinstance(text, str):
        return text
    if text is None and may_be_empty:
        return ""
    raise Malformed(f"the first choice has no text: {_brief(choice)}")


def _joined(parts: list[Any]) -> str | None:
    texts = [part.get("text") for part in parts if isinstance(part, dict) and _is_text(part)]
    if not texts or not all(isinstance(text, str) for text in texts):
        return None
    return "".join(map(str, texts))


def _is_text(part: dict[str, Any]) -> bool:
    return part.get("type", "text") in {"text", "output_text"}


def _tokens(usage: Any, name: str) -> int:
    """A count of tokens, 0 where the server does not count."""
    count = usage.get(name) if isinstance(usage, dict) else None
    good = isinstance(count, int) and not isinstance(count, bool) and 0 <= count < _MOST_TOKENS
    return int(count) if good and count is not None else 0


def _logprob(api: Api, logprobs: Any) -> float | None:
    """The sum over the tokens, ``None`` where the server gives none."""
    if not isinstance(logprobs, dict):
        return None
    if api == "completions":
        values = logprobs.get("token_logprobs")
    else:
        entries = logprobs.get("content")
        values = [e.get("logprob") for e in entries if isinstance(e, dict)] if entries else None
    if not isinstance(values, list) or not all(isinstance(v, int | float) for v in values):
        return None
    total = math.fsum(values)
    if not math.isfinite(total):
        raise NotFinite("logprobs: their sum is not a finite number")
    return total


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
