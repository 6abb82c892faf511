"""A prompt: a conversation with the number of answers and the sampling parameters."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, StringConstraints, ValidationInfo, model_validator

from promptmill_schemas import ids
from promptmill_schemas.base import SCHEMA_VERSION, Contract
from promptmill_schemas.errors import ContractError
from promptmill_schemas.fields import Items, Tags, Time
from promptmill_schemas.limits import (
    MAX_CANDIDATES,
    MAX_MESSAGES,
    MAX_RUN_CHARACTERS,
    MAX_TOKENS,
)
from promptmill_schemas.plain_json import require_plain_json

Role = Literal["system", "user", "assistant"]
Int = Annotated[int, Field(strict=True)]
Float = Annotated[float, Field(strict=True)]
Text = Annotated[str, StringConstraints(min_length=1)]
Id = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
RunName = Annotated[
    str, StringConstraints(pattern=rf"^[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_RUN_CHARACTERS - 1}}}$")
]


class Message(Contract):
    """One turn of a conversation."""

    role: Role
    content: Text


class StructuredOutput(Contract):
    """A constraint on the answer's format; exactly one of the three fields is set."""

    json_schema: dict[str, Any] | None = None
    regex: Text | None = None
    choice: Items[Text] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            limit = "exactly one of json_schema, regex, choice"
            raise ContractError("sampling.structured", given, limit, "keep one of them")
        return self

    @model_validator(mode="after")
    def _the_schema_is_plain_json(self) -> Self:
        if self.json_schema is not None:
            require_plain_json(self.json_schema, "sampling.structured.json_schema")
        return self


class Sampling(Contract):
    """The sampling parameters, with the names and ranges of vLLM and the OpenAI API."""

    temperature: Float = Field(default=1.0, ge=0, le=2)
    top_p: Float = Field(default=1.0, gt=0, le=1)
    top_k: Int | None = Field(default=None, ge=1)
    min_p: Float = Field(default=0.0, ge=0, le=1)
    max_tokens: Int = Field(default=512, ge=1, le=MAX_TOKENS)
    stop: Items[Text] = Field(default=(), max_length=16)
    seed: Int | None = Field(default=None, ge=0, lt=1 << 63)
    presence_penalty: Float = Field(default=0.0, ge=-2, le=2)
    frequency_penalty: Float = Field(default=0.0, ge=-2, le=2)
    repetition_penalty: Float = Field(default=1.0, gt=0, le=2)
    logprobs: Annotated[bool, Field(strict=True)] = False
    structured: StructuredOutput | None = None

    def canonical(self) -> dict[str, Any]:
        """The parameters that differ from their defaults, as plain JSON values.

        Unknown fields are left out, so that the id is the same for every version.
        """
        unknown: dict[str, Any] = dict.fromkeys(self.unknown_fields, True)
        if self.structured is not None and self.structured.unknown_fields:
            unknown["structured"] = self.structured.unknown_fields
        return self.model_dump(mode="json", exclude_defaults=True, exclude=unknown)


_ID_IS_DERIVED: Final = object()
"""Context of a validation whose id was just worked out from the content: once is enough."""


class Prompt(Contract):
    """A conversation to be answered ``n`` times.

    Attributes:
        prompt_id: derived from run, messages, n, sampling and adapter; a wrong one is refused.
        run: the name under which prompts are published and counted.
        n: the number of candidates.
        adapter: the name of the LoRA adapter that answers; ``None`` uses the model itself.
        tags: labels of the user (domain, stratum, ground truth …); not part of the id.
        replays: how often the prompt was replayed after it had been dead-lettered.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    prompt_id: Id
    run: RunName
    messages: Items[Message] = Field(min_length=1, max_length=MAX_MESSAGES)
    n: Int = Field(default=1, ge=1, le=MAX_CANDIDATES)
    sampling: Sampling = Sampling()
    adapter: Text | None = None
    tags: Tags = Field(default_factory=dict)
    replays: Int = Field(default=0, ge=0)
    created_at: Time

    @classmethod
    def create(
        cls,
        run: str,
        messages: tuple[Message, ...],
        *,
        n: int = 1,
        sampling: Sampling | None = None,
        adapter: str | None = None,
        tags: dict[str, str] | None = None,
        created_at: datetime | None = None,
    ) -> Prompt:
        """Create a prompt with its id; raises pydantic's ``ValidationError`` if it is invalid."""
        sampling = sampling or Sampling()
        fields = {
            "prompt_id": _identify(run, messages, n, sampling, adapter),
            "run": run,
            "messages": messages,
            "n": n,
            "sampling": sampling,
            "adapter": adapter,
            "tags": tags or {},
            "created_at": created_at or datetime.now(UTC),
        }
        return cls.model_validate(fields, context=_ID_IS_DERIVED)

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if self.messages[-1].role == "assistant":
            limit = "the last message must come from the user or the system"
            remedy = "end the conversation with the turn that is to be answered"
            field = f"messages.{len(self.messages) - 1}.role"
            raise ContractError(field, "assistant", limit, remedy)
        return self

    @model_validator(mode="after")
    def _id_fits_the_content(self, info: ValidationInfo) -> Self:
        if info.context is _ID_IS_DERIVED:
            return self
        expected = _identify(self.run, self.messages, self.n, self.sampling, self.adapter)
        if self.prompt_id != expected:
            limit = f"the id that belongs to this content is {expected}"
            raise ContractError(
                "prompt_id", self.prompt_id, limit, "send that id, or omit the field"
            )
        return self


def _identify(
    run: str, messages: tuple[Message, ...], n: int, sampling: Sampling, adapter: str | None
) -> str:
    turns = [[message.role, message.content] for message in messages]
    return ids.prompt_id(run, turns, n, _last_canonical.of(sampling), adapter)


class _LastCanonical:
    """Caches the canonical form of the last ``Sampling`` object, by identity.

    Thousands of consecutive prompts share one object, and computing the form twice for each would
    take a third of the time to parse a line. An attribute of the object would be copied, and be
    wrong, when a copy with other parameters is made.
    """

    def __init__(self) -> None:
        self._last: tuple[Sampling, dict[str, Any]] | None = None

    def of(self, sampling: Sampling) -> dict[str, Any]:
        last = self._last  # read once: another thread may replace it
        if last is None or last[0] is not sampling:
            self._last = last = (sampling, sampling.canonical())
        return last[1]


_last_canonical = _LastCanonical()
