"""Request lines of OpenAI's batch format, translated to a plain line and back.

A field that would change the answers and is not supported is refused, never dropped; one that
only concerns the service that was asked before (``model``, ``user`` …) is left out.
"""

from __future__ import annotations

from typing import Any, Literal

from promptmill_schemas import Contract, ContractError
from promptmill_schemas.base import validate
from promptmill_schemas.errors import MISSING
from promptmill_schemas.fields import Text

Names = dict[str, str]
"""Fields of the plain line, and what they are called in the batch line."""

SIMPLE = {
    "messages": "messages",
    "n": "n",
    "metadata": "tags",
    "temperature": "sampling.temperature",
    "top_p": "sampling.top_p",
    "top_k": "sampling.top_k",
    "min_p": "sampling.min_p",
    "max_tokens": "sampling.max_tokens",
    "max_completion_tokens": "sampling.max_tokens",
    "stop": "sampling.stop",
    "seed": "sampling.seed",
    "presence_penalty": "sampling.presence_penalty",
    "frequency_penalty": "sampling.frequency_penalty",
    "repetition_penalty": "sampling.repetition_penalty",
    "logprobs": "sampling.logprobs",
    "response_format": "sampling.structured",
}
WITHOUT_EFFECT = {
    *("model", "user", "store", "service_tier", "stream", "stream_options", "top_logprobs"),
    *("safety_identifier", "prompt_cache_key"),
}


class BatchLine(Contract):
    """The frame of a request line."""

    custom_id: Text
    method: Literal["POST"]
    url: Literal["/v1/chat/completions"]
    body: dict[str, Any]


def is_batch(value: dict[str, Any]) -> bool:
    """Whether the line means to be a batch request."""
    return not value.keys().isdisjoint({"body", "url", "method"})


def plain_from_batch(value: dict[str, Any]) -> tuple[dict[str, Any], Names]:
    """The plain line that asks the same, and what its fields were called.

    Raises:
        ContractError: not a chat request, or it asks for something that is not supported.
    """
    line = validate(BatchLine, value, unknown="forbid")
    body = {name: part for name, part in line.body.items() if part is not None}
    if "messages" not in body:
        limit = "a chat request needs messages"
        raise ContractError("body.messages", MISSING, limit, "add the conversation")
    _refuse_unsupported(body)
    plain: dict[str, Any] = {"custom_id": line.custom_id}
    names: Names = {}
    for name, part in body.items():
        if name in SIMPLE:
            target = SIMPLE[name]
            _put(plain, target, _translated(name, part))
            names[target] = f"body.{name}"
    return plain, names


def as_user_named(error: ContractError, names: Names) -> ContractError:
    """The same error with the field's name of the batch line."""
    for ours, theirs in names.items():
        if error.field == ours or error.field.startswith(f"{ours}."):
            return error.renamed(theirs + error.field.removeprefix(ours))
    return error


def _refuse_unsupported(body: dict[str, Any]) -> None:
    for name, part in body.items():
        if name not in SIMPLE and name not in WITHOUT_EFFECT:
            limit = f"it must be one of {', '.join(SIMPLE)}"
            raise ContractError(f"body.{name}", part, limit, "remove the field")
    limits = {repr(body[name]) for name in ("max_tokens", "max_completion_tokens") if name in body}
    if len(limits) > 1:
        limit = f"it must equal body.max_completion_tokens ({body['max_completion_tokens']})"
        raise ContractError(
            "body.max_tokens", body["max_tokens"], limit, "keep only one of the two"
        )


def _put(plain: dict[str, Any], target: str, value: Any) -> None:
    *folder, name = target.split(".")
    place = plain.setdefault(folder[0], {}) if folder else plain
    place[name] = value


def _translated(name: str, value: Any) -> Any:
    if name == "stop" and isinstance(value, str):
        return [value]
    if name == "response_format":
        return _structured(value)
    if name == "messages" and isinstance(value, list):
        return [_message(message) for message in value]
    return value


def _message(value: Any) -> Any:
    """A message with its text parts joined; ``developer`` is the newer name of ``system``."""
    if not isinstance(value, dict):
        return value
    message = {name: part for name, part in value.items() if part is not None}
    if message.get("role") == "developer":
        message["role"] = "system"
    parts = message.get("content")
    if isinstance(parts, list) and all(_is_text(part) for part in parts):
        message["content"] = "".join(part["text"] for part in parts)
    return message


def _is_text(part: Any) -> bool:
    return (
        isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
    )


def _structured(value: Any) -> dict[str, Any] | None:
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "text":
        return None
    if kind == "json_object":
        return {"json_schema": {"type": "object"}}
    schema = value.get("json_schema") if kind == "json_schema" else None
    if isinstance(schema, dict) and isinstance(schema.get("schema"), dict):
        return {"json_schema": schema["schema"]}
    limit = "the type must be text, json_object, or json_schema with a json_schema.schema"
    raise ContractError("body.response_format", value, limit, "use one of these types")
