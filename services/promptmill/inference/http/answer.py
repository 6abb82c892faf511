"""What a chat or completion answer holds; nothing in it is taken on trust."""

from __future__ import annotations

import math
from typing import Any

from promptmill.inference.http.errors import Malformed, NotFinite, Unreadable
from promptmill.inference.http.options import Api
from promptmill.inference.http.transport import parse_json
from promptmill.inference.ports import Answer
from promptmill_schemas import StructuredOutput

UNKNOWN = "unknown"
"""The finish reason of a server that gives none."""

REFUSAL = "refusal"
"""The finish reason of an answer that the model refused to give; OpenAI says ``stop``."""

_MOST_TOKENS = 1 << 31


def read_answer(api: Api, reply: Any) -> Answer:
    """The one answer in a reply.

    A server that ends an answer without a text has done so on purpose (a refusal, a filter, a
    context that is full, thoughts alone): that is an answer too, an empty one, with its reason.

    Raises:
        Malformed: the reply has another form than the API promises.
    """
    choice = first_choice(reply)
    usage = reply.get("usage")
    text, reason = _text(api, choice), _finish_reason(choice)
    if text is None and reason == UNKNOWN:
        raise Malformed(
            f"the first choice has neither a text nor a finish reason: {_brief(choice)}"
        )
    return Answer(
        text=text or "",
        finish_reason=reason,
        prompt_tokens=_tokens(usage, "prompt_tokens"),
        completion_tokens=_tokens(usage, "completion_tokens"),
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
    content = _message(choice).get("content")
    if isinstance(content, list):
        return _joined(content)
    if content is None or isinstance(content, str):
        return content
    raise Malformed(f"choices.0.message.content is not text: {_brief(content)}")


def refusal_of(choice: dict[str, Any]) -> str | None:
    """Why the model or its server gives no answer, in their words; ``None``: they give one."""
    refusal = _message(choice).get("refusal")
    if isinstance(refusal, str) and refusal.strip():
        return refusal.strip()
    return "content_filter" if choice.get("finish_reason") == "content_filter" else None


def _message(choice: dict[str, Any]) -> dict[str, Any]:
    message = choice.get("message")
    if isinstance(message, list) and len(message) == 1:
        message = message[0]
    if not isinstance(message, dict):
        raise Malformed(f"choices.0.message is not an object: {_brief(message)}")
    return message


def require_form(text: str, form: StructuredOutput) -> None:
    """Refuse an answer that the server has not held to its form.

    Servers ignore fields that they do not know. An expression is not checked here: theirs are
    of another dialect.

    Raises:
        Unreadable: with the remedy.
    """
    if form.choice is not None and text not in form.choice:
        raise Unreadable(f"the answer {_brief(text)} is not one of the choices: {_UNHEARD}")
    if form.json_schema is not None:
        try:
            parse_json(text.encode())
        except ValueError as error:
            raise Unreadable(f"the answer is not JSON ({error}): {_UNHEARD}") from None


_UNHEARD = "the server ignores sampling.structured; name the kind of server with --server"


def _text(api: Api, choice: dict[str, Any]) -> str | None:
    if api == "chat":
        return content_of(choice)
    text = choice.get("text")
    if text is None or isinstance(text, str):
        return text
    raise Malformed(f"choices.0.text is not text: {_brief(text)}")


def _finish_reason(choice: dict[str, Any]) -> str:
    """The server's own word; a refusal is named as one, whatever the server calls it."""
    if "message" in choice and _message(choice).get("refusal"):
        return REFUSAL
    reason = choice.get("finish_reason")
    return reason if isinstance(reason, str) and reason else UNKNOWN


def _joined(parts: list[Any]) -> str:
    texts = [part.get("text") for part in parts if isinstance(part, dict) and _is_text(part)]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise Malformed(f"choices.0.message.content has no text part: {_brief(parts)}")
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
        raise NotFinite("the sum of logprobs is not a finite number")
    return total


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
