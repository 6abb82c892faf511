"""A prompt: a conversation with the number of answers and the sampling parameters."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, Self, TypeAlias, TypedDict, Unpack

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from promptmill_schemas import ids
from promptmill_schemas.base import SCHEMA_VERSION, Contract
from promptmill_schemas.errors import MISSING, ContractError, LocalError
from promptmill_schemas.fields import (
    Float,
    Id,
    Int,
    Items,
    JsonObject,
    Label,
    OrAbsent,
    RunName,
    Tags,
    Text,
    Time,
)
from promptmill_schemas.limits import MAX_CANDIDATES, MAX_MESSAGES, MAX_TOKENS, MAX_TOOLS
from promptmill_schemas.message import Message, canonical_turns
from promptmill_schemas.plain_json import require_plain_json
from promptmill_schemas.reference import Reference

FURTHER: Final = ("tools", "chat_template_kwargs", "extra_body", "draw")
"""The fields that are part of a prompt's id only if they are present."""


def _defines_a_tool(tool: dict[str, Any]) -> dict[str, Any]:
    """Require a type and, for a function, its name."""
    kind, function = tool.get("type", MISSING), tool.get("function", MISSING)
    if not isinstance(kind, str) or not kind:
        raise LocalError("type", kind, "a tool has a type", 'add "type": "function"')
    if kind != "function":
        return tool
    name = function.get("name", MISSING) if isinstance(function, dict) else function
    if not isinstance(name, str) or not name:
        field = "function.name" if isinstance(function, dict) else "function"
        limit = "a function is defined by an object with a name"
        raise LocalError(field, name, limit, 'write {"type": "function", "function": {"name": …}}')
    return tool


Tool: TypeAlias = Annotated[JsonObject, AfterValidator(_defines_a_tool)]
"""A tool definition of the OpenAI API, kept as it is."""

Tools: TypeAlias = Annotated[Items[Tool], Field(max_length=MAX_TOOLS)]


class StructuredOutput(Contract):
    """A constraint on the answer's format; exactly one of the first four fields is set.

    Attributes:
        json_object: ``true`` for any JSON object.
        strict: the ``strict`` of OpenAI's ``json_schema`` format; ``None`` leaves it out.
    """

    json_schema: dict[str, Any] | None = None
    regex: Text | None = None
    choice: Items[Text] | None = Field(default=None, min_length=1)
    json_object: Literal[True] | None = None
    strict: Annotated[bool, Field(strict=True)] | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        formats = ("json_schema", "regex", "choice", "json_object")
        given = [name for name in formats if getattr(self, name) is not None]
        if len(given) != 1:
            limit = f"exactly one of {', '.join(formats)}"
            raise LocalError("", given, limit, "keep one of them")
        return self

    @model_validator(mode="after")
    def _the_schema_is_plain_json(self) -> Self:
        if self.json_schema is not None:
            require_plain_json(self.json_schema, "json_schema")
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
        """Return the parameters that differ from their defaults, as plain JSON values.

        Unknown fields are omitted, so that the id is the same for every version.
        """
        unknown: dict[str, Any] = dict.fromkeys(self.unknown_fields, True)
        if self.structured is not None and self.structured.unknown_fields:
            unknown["structured"] = self.structured.unknown_fields
        return self.model_dump(mode="json", exclude_defaults=True, exclude=unknown)


_ID_IS_DERIVED: Final = object()
"""The validation context that skips the check of an id that was just derived."""


class PromptOptions(TypedDict, total=False):
    """The optional fields of a prompt; ``None`` and empty values are left out."""

    tools: tuple[dict[str, Any], ...] | None
    chat_template_kwargs: dict[str, Any] | None
    extra_body: dict[str, Any] | None
    draw: int | None
    reference: Reference | None
    category: str | None
    licence: str | None


class Prompt(Contract):
    """A conversation to be answered ``n`` times.

    Attributes:
        prompt_id: derived from run, messages, n, sampling and adapter, and from tools,
            chat_template_kwargs, extra_body and draw where present; a wrong one is refused.
        run: the name under which prompts are published and counted.
        n: the number of candidates.
        adapter: the name of the LoRA adapter that answers; ``None`` uses the model itself.
        tools: the tools that the model may call, as OpenAI's API defines them.
        chat_template_kwargs: arguments of the model's chat template, for example
            ``{"enable_thinking": false}``.
        extra_body: further fields for the body of the request to a server.
        draw: the number of a further draw of the same content, from 1; absent in the first. It
            gives the prompt its own id and its candidates their own seeds.
        tags: labels of the user (domain, stratum, …); not part of the id. Numbers and truth values
            are accepted and kept as their JSON text; null is absent.
        reference: the ground truth; not part of the id.
        category: the kind of task, for example ``math``; not part of the id.
        licence: the licence of the prompt; not part of the id.
        replays: how often the prompt was replayed after it had been dead-lettered.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    prompt_id: Id
    run: RunName
    messages: Items[Message] = Field(min_length=1, max_length=MAX_MESSAGES)
    n: Int = Field(default=1, ge=1, le=MAX_CANDIDATES)
    sampling: Sampling = Sampling()
    adapter: Text | None = None
    tools: OrAbsent[Tools] = None
    chat_template_kwargs: OrAbsent[JsonObject] = None
    extra_body: OrAbsent[JsonObject] = None
    draw: Int | None = Field(default=None, ge=1)
    tags: Tags = Field(default_factory=dict)
    reference: Reference | None = None
    category: OrAbsent[Label] = None
    licence: OrAbsent[Label] = None
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
        **options: Unpack[PromptOptions],
    ) -> Prompt:
        """Create a prompt with its id; raise pydantic's ``ValidationError`` if it is invalid."""
        sampling = sampling or Sampling()
        further = {name: options[name] for name in FURTHER if options.get(name)}
        fields = {
            **options,
            "prompt_id": _identify(run, messages, n, sampling, adapter, further),
            "run": run,
            "messages": messages,
            "n": n,
            "sampling": sampling,
            "adapter": adapter,
            "tags": tags or {},
            "created_at": created_at or datetime.now(UTC),
        }
        return cls.model_validate(fields, context=_ID_IS_DERIVED)

    def as_draw(self, draw: int) -> Prompt:
        """Return the same prompt as a draw of its content, under the id of that draw.

        Args:
            draw: 0 is the first draw, whose id belongs to the content alone.
        """
        drawn = self.model_copy(update={"draw": draw or None})
        return drawn.model_copy(update={"prompt_id": _id_of(drawn)})

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if self.messages[-1].role == "assistant":
            limit = "the last message must not come from the assistant"
            remedy = "end the conversation with the turn that is to be answered"
            field = f"messages.{len(self.messages) - 1}.role"
            raise ContractError(field, "assistant", limit, remedy)
        return self

    @model_validator(mode="after")
    def _id_fits_the_content(self, info: ValidationInfo) -> Self:
        if info.context is _ID_IS_DERIVED:
            return self
        expected = _id_of(self)
        if self.prompt_id != expected:
            limit = f"the id that belongs to this content is {expected}"
            raise ContractError(
                "prompt_id", self.prompt_id, limit, "send that id, or omit the field"
            )
        return self


def _id_of(prompt: Prompt) -> str:
    """Return the id that belongs to the content of this prompt."""
    further = {name: value for name in FURTHER if (value := getattr(prompt, name))}
    return _identify(
        prompt.run, prompt.messages, prompt.n, prompt.sampling, prompt.adapter, further
    )


def _identify(
    run: str,
    messages: tuple[Message, ...],
    n: int,
    sampling: Sampling,
    adapter: str | None,
    further: dict[str, Any],
) -> str:
    turns = canonical_turns(messages)
    return ids.prompt_id(run, turns, n, _last_canonical.of(sampling), adapter, further)


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
