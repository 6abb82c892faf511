"""Request lines of OpenAI's batch format, translated to a plain line and back.

An unsupported field that would change the answers is refused, never dropped. A field that only
concerns the original service (``model``, ``user`` …) is ignored.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from promptmill.cli.publish.layouts.plain import Names, Row, Taken, parsed
from promptmill_schemas import ContractError
from promptmill_schemas.errors import MISSING

FRAME: Final = frozenset({"custom_id", "method", "url", "body"})
CHAT: Final = "/chat/completions"
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
    "random_seed": "sampling.seed",
    "presence_penalty": "sampling.presence_penalty",
    "frequency_penalty": "sampling.frequency_penalty",
    "repetition_penalty": "sampling.repetition_penalty",
    "logprobs": "sampling.logprobs",
    "response_format": "sampling.structured",
    "tools": "tools",
    "chat_template_kwargs": "chat_template_kwargs",
    "guided_json": "sampling.structured",
    "guided_regex": "sampling.structured",
    "guided_choice": "sampling.structured",
    "structured_outputs": "sampling.structured",
}
PASSED_ON = {
    *("reasoning_effort", "reasoning", "thinking", "thinking_token_budget", "verbosity"),
    *("tool_choice", "parallel_tool_calls", "logit_bias", "safe_prompt", "prompt_mode"),
    *("min_tokens", "stop_token_ids", "ignore_eos", "bad_words", "include_reasoning"),
    *("add_generation_prompt", "continue_final_message", "skip_special_tokens"),
    *("include_stop_str_in_output", "spaces_between_special_tokens", "truncate_prompt_tokens"),
    *("length_penalty", "allowed_token_ids", "add_special_tokens", "documents", "chat_template"),
    *("vllm_xargs", "mm_processor_kwargs", "enable_thinking", "thinking_budget", "modalities"),
    *("reasoning_format", "context_length_exceeded_behavior", "safety_model", "separate_reasoning"),
}
"""Fields that only some servers know; they are sent to the server unchanged."""

WITHOUT_EFFECT = {
    *("model", "user", "store", "service_tier", "stream", "stream_options", "top_logprobs"),
    *("safety_identifier", "prompt_cache_key", "prompt_cache_retention", "priority"),
    *("prediction", "request_id", "cache_salt", "return_tokens_as_token_ids", "return_token_ids"),
}
NEUTRAL: Final = {"echo": False, "use_beam_search": False, "best_of": 1}
"""Values of fields that are not supported, with which they change nothing."""

GUIDED: Final = {
    "guided_json": "json_schema",
    "guided_regex": "regex",
    "guided_choice": "choice",
    "json": "json_schema",
    "regex": "regex",
    "choice": "choice",
    "json_object": "json_object",
}
"""The structures of vLLM and SGLang, and ours."""


def is_batch(row: Row) -> bool:
    """Return whether the line looks like a batch request."""
    return not row.keys().isdisjoint({"body", "url", "method"})


def plain_from_batch(row: Row) -> Taken:
    """Translate a request to a plain line, with the fields' original names and all errors."""
    body = row.get("body", MISSING)
    findings = list(_frame_findings(row))
    if not isinstance(body, dict):
        limit = "a request has a body with messages"
        findings.append(ContractError("body", body, limit, "add the body of a chat request"))
        return Taken({}, {}, tuple(findings))
    body = {
        name: part
        for name, part in body.items()
        if part is not None and not (name in NEUTRAL and part == NEUTRAL[name])
    }
    findings += _body_findings(body)
    fields: Row = {} if row.get("custom_id") is None else {"custom_id": row["custom_id"]}
    names: Names = {}
    for name in body:
        try:
            _add(fields, names, name, body[name])
        except ContractError as error:
            findings.append(error)
    return Taken(fields, names, tuple(findings))


def _add(fields: Row, names: Names, name: str, value: Any) -> None:
    if name == "top_k" and value in {-1, 0}:
        return  # the values that mean all tokens for vLLM and Together
    if name in PASSED_ON:
        _put(fields, f"extra_body.{name}", value)
        names[f"extra_body.{name}"] = f"body.{name}"
    if name in SIMPLE:
        target = SIMPLE[name]
        _put(fields, target, _translated(name, value))
        names[target] = f"body.{name}"


def _frame_findings(row: Row) -> Iterator[ContractError]:
    for name in row.keys() - FRAME:
        limit = f"a request line has {', '.join(sorted(FRAME))}"
        yield ContractError(name, row[name], limit, "remove the field or move it into body")
    method, url = row.get("method", "POST"), row.get("url", CHAT)
    if not isinstance(method, str) or method.upper() != "POST":
        yield ContractError("method", method, "a request is 'POST'", 'write "POST" or nothing')
    if not _is_chat(url):
        limit = "it must be the address of chat requests: '/v1/chat/completions'"
        yield ContractError("url", url, limit, "only chat requests can be published")


def _is_chat(url: Any) -> bool:
    """Return whether this is an address of chat requests, with any host or path before it."""
    return isinstance(url, str) and f"/{urlsplit(url.strip()).path}".rstrip("/").endswith(CHAT)


def _body_findings(body: Row) -> Iterator[ContractError]:
    if "messages" not in body:
        limit = "a chat request needs messages"
        yield ContractError("body.messages", MISSING, limit, "add the conversation")
    for name, part in body.items():
        if name not in SIMPLE and name not in WITHOUT_EFFECT and name not in PASSED_ON:
            limit = f"it must be one of {', '.join(SIMPLE)}"
            yield ContractError(f"body.{name}", part, limit, "remove the field")
    limits = {repr(body[name]) for name in ("max_tokens", "max_completion_tokens") if name in body}
    if len(limits) > 1:
        limit = f"it must equal body.max_completion_tokens ({body['max_completion_tokens']})"
        yield ContractError(
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
    if name == "structured_outputs":
        return _guided(name, value if isinstance(value, dict) else {})
    if name in GUIDED:
        return _guided(name, {name: value})
    if name == "logprobs" and type(value) is int:
        return value > 0  # Together counts the alternatives
    return value


def _guided(name: str, given: Row) -> Row:
    found = {GUIDED[key]: value for key, value in given.items() if key in GUIDED}
    if len(found) != 1:
        limit = "one of json, regex, choice or json_object"
        raise ContractError(f"body.{name}", given, limit, "give one of these structures")
    ((kind, value),) = found.items()
    if kind == "json_schema" and isinstance(value, str):
        value = parsed(value)
    return {kind: value}


def _structured(value: Any) -> dict[str, Any] | None:
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "text":
        return None
    own = value.get("schema") if isinstance(value, dict) else None
    if kind in {"json_object", "json_schema"} and isinstance(own, dict):
        return {"json_schema": own}  # Together and Fireworks
    if kind == "json_object":
        return {"json_object": True}
    schema = value.get("json_schema") if kind == "json_schema" else None
    if isinstance(schema, dict) and isinstance(schema.get("schema"), dict):
        strict = {} if schema.get("strict") is None else {"strict": schema["strict"]}
        return {"json_schema": schema["schema"], **strict}
    limit = "the type must be text, json_object, or json_schema with a json_schema.schema"
    raise ContractError("body.response_format", value, limit, "use one of these types")
