"""One line of input becomes one prompt, or one error that says what is wrong with it.

Accepted are ``{"prompt": "…"}``, ``{"messages": […]}`` and request lines of OpenAI's batch
format. Nothing here knows files, line numbers or Kafka.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StringConstraints, ValidationError

from promptmill.cli.publish.openai_batch import as_user_named, is_batch, plain_from_batch
from promptmill_schemas import Contract, ContractError, Message, Prompt, Sampling
from promptmill_schemas.base import contract_error, parse_json, validate
from promptmill_schemas.errors import MISSING
from promptmill_schemas.fields import Id, Int, Items, Tags, Text
from promptmill_schemas.limits import (
    MAX_CANDIDATES,
    MAX_MESSAGES,
    MAX_PROMPT_BYTES,
    MAX_TAG_CHARACTERS,
)

CUSTOM_ID = "custom_id"
"""The tag that keeps the user's own id of a line."""

SHOWN_BYTES = 40


def _number_as_text(value: Any) -> Any:
    return str(value) if type(value) is int else value


LineId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_TAG_CHARACTERS),
    BeforeValidator(_number_as_text),
]


class PlainLine(Contract):
    """What a line may hold; an absent or null field takes the default of the command line.

    A misspelt field is refused, here and in the contracts inside.
    """

    prompt: Text | None = None
    messages: Items[Message] | None = Field(default=None, min_length=1, max_length=MAX_MESSAGES)
    n: Int | None = Field(default=None, ge=1, le=MAX_CANDIDATES)
    sampling: Sampling | None = None
    adapter: Text | None = None
    tags: Tags | None = None
    id: LineId | None = None
    custom_id: LineId | None = None
    prompt_id: Id | None = None


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds for every line that does not say otherwise; ``tags`` are added to each."""

    run: str
    n: int = 1
    sampling: Sampling = field(default_factory=Sampling)
    adapter: str | None = None
    tags: dict[str, str] = field(default_factory=dict)


def parse_line(raw: bytes | dict[str, Any], defaults: Defaults) -> Prompt:
    """The prompt that the line holds.

    Raises:
        ContractError: names the field as the line does, its value, the limit and a remedy.
    """
    return prompt_of(parse_object(raw), defaults)


def parse_object(raw: bytes | dict[str, Any]) -> dict[str, Any]:
    """The JSON object that the line holds, or the row itself; raises :class:`ContractError`."""
    if isinstance(raw, dict):
        return raw
    if len(raw) > MAX_PROMPT_BYTES:
        raise too_long(raw, len(raw))
    value = parse_json(raw)
    if not isinstance(value, dict):
        remedy = 'write {"prompt": "…"} or {"messages": […]}'
        raise ContractError("", value, "a line must be one JSON object", remedy)
    return value


def only_text(value: dict[str, Any]) -> str | None:
    """The prompt of a line that holds nothing else; the line is valid as it is."""
    text = value.get("prompt") if len(value) == 1 else None
    return text if isinstance(text, str) and text else None


def prompt_of(value: dict[str, Any], defaults: Defaults) -> Prompt:
    """The prompt that the line's object stands for; raises as :func:`parse_line`."""
    if not is_batch(value):
        return _prompt(validate(PlainLine, value, unknown="forbid"), defaults)
    plain, names = plain_from_batch(value)
    try:
        return _prompt(validate(PlainLine, plain, unknown="forbid"), defaults)
    except ContractError as error:
        raise as_user_named(error, names) from error


def too_long(head: bytes | dict[str, Any], size: int) -> ContractError:
    """The error of a line of ``size`` bytes that begins with ``head``."""
    limit = f"a line may have at most {MAX_PROMPT_BYTES} bytes, this one has {size}"
    shown = head[:SHOWN_BYTES] if isinstance(head, bytes) else head
    return ContractError("", shown, limit, "shorten or split the text")


def _prompt(line: PlainLine, defaults: Defaults) -> Prompt:
    try:
        prompt = Prompt.create(
            defaults.run,
            _messages(line),
            n=defaults.n if line.n is None else line.n,
            sampling=_sampling(line.sampling, defaults.sampling),
            adapter=line.adapter or defaults.adapter,
            tags={**defaults.tags, **(line.tags or {}), **_own_id(line)},
        )
    except ValidationError as error:
        raise contract_error(error) from error
    if line.prompt_id not in {None, prompt.prompt_id}:
        limit = f"the id that belongs to this content in run {prompt.run} is {prompt.prompt_id}"
        remedy = f"remove prompt_id, or put your own id into {CUSTOM_ID}"
        raise ContractError("prompt_id", line.prompt_id, limit, remedy)
    return prompt


def _messages(line: PlainLine) -> tuple[Message, ...]:
    if line.prompt is not None and line.messages is not None:
        limit = "a line has either prompt or messages, not both"
        raise ContractError("prompt", line.prompt, limit, "keep only one of the two")
    if line.prompt is not None:
        return (Message(role="user", content=line.prompt),)
    if line.messages is not None:
        return line.messages
    raise ContractError("prompt", MISSING, "a line needs prompt or messages", "add one of the two")


def _sampling(given: Sampling | None, defaults: Sampling) -> Sampling:
    """The line's own settings on top of the defaults, setting by setting."""
    if given is None:
        return defaults
    return defaults.model_copy(
        update={name: getattr(given, name) for name in given.model_fields_set}
    )


def _own_id(line: PlainLine) -> dict[str, str]:
    if line.id is not None and line.custom_id not in {None, line.id}:
        limit = f"it must equal {CUSTOM_ID} ({line.custom_id!r})"
        raise ContractError("id", line.id, limit, "keep only one of the two")
    own = line.id if line.custom_id is None else line.custom_id
    return {} if own is None else {CUSTOM_ID: own}
