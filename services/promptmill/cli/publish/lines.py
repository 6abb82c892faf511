"""Parsing one line of input to a prompt, or to one error with everything wrong with the line.

The package ``layouts`` knows the meaning of a row's columns. This module knows nothing about files,
line numbers or Kafka.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import ValidationError

from promptmill.cli.counts import CUSTOM_ID
from promptmill.cli.publish.files.splitting import UTF8_BOM
from promptmill.cli.publish.files.tables import complete_row
from promptmill.cli.publish.layouts.plain import Names, PlainLine, Row, Taken
from promptmill.cli.publish.layouts.reading import RowReader
from promptmill_schemas import ContractError, Message, Prompt, Sampling
from promptmill_schemas.base import UNKNOWN_REMEDY, contract_errors, parse_json
from promptmill_schemas.completion import ANSWERS_TAG, GIVEN
from promptmill_schemas.errors import MISSING
from promptmill_schemas.limits import MAX_PROMPT_BYTES
from promptmill_schemas.prompt import PromptOptions

SHOWN_BYTES = 40


class Reader(Protocol):
    """The part of :class:`~promptmill.cli.publish.layouts.reading.RowReader` that is used here."""

    @property
    def reads_texts(self) -> bool:
        """Whether a row with only a ``prompt`` can be read without a layout."""

    def take(self, row: Row) -> Taken:
        """Read a row; raise :class:`ContractError` if its outer structure is invalid."""


AS_IT_IS: Reader = RowReader()
"""A reader that recognises the layout of each row."""


class FaultyLine(ContractError):
    """Several errors in one line; the first is the most relevant.

    Attributes:
        findings: all errors.
    """

    def __init__(self, findings: Sequence[ContractError]) -> None:
        first = findings[0]
        super().__init__(first.field, first.value, first.limit, first.remedy)
        self.findings = tuple(findings)

    def __str__(self) -> str:
        return "; also ".join(map(str, self.findings))


def findings_of(error: ContractError) -> tuple[ContractError, ...]:
    """Return all errors of a line."""
    return error.findings if isinstance(error, FaultyLine) else (error,)


@dataclass(frozen=True, slots=True)
class Defaults:
    """The values for fields that a line does not set; ``tags`` are added to every line."""

    run: str
    n: int = 1
    sampling: Sampling = field(default_factory=Sampling)
    adapter: str | None = None
    tags: dict[str, str] = field(default_factory=dict)


def parse_line(raw: bytes | Row, defaults: Defaults) -> Prompt:
    """Parse a line to a prompt.

    Raises:
        ContractError: the line is invalid; it names the field as the line does, the value, the
            limit and a remedy.
    """
    return prompt_of(parse_object(raw), defaults)


def parse_object(raw: bytes | Row) -> Row:
    """Return the line's JSON object, or the row itself; raise :class:`ContractError`."""
    if isinstance(raw, dict):
        return complete_row(raw)
    if len(raw) > MAX_PROMPT_BYTES:
        raise too_long(raw, len(raw))
    value = parse_json(raw.removeprefix(UTF8_BOM))
    if not isinstance(value, dict):
        remedy = 'write {"prompt": "…"} or {"messages": […]}'
        raise ContractError("", value, "a line must be one JSON object", remedy)
    return value


def object_of(raw: bytes | Row) -> Row | None:
    """Return the line's JSON object, or ``None`` if it has none."""
    try:
        return parse_object(raw)
    except ContractError:
        return None


def only_text(value: Row) -> str | None:
    """Return the text of a line that holds only a valid ``prompt``, otherwise ``None``."""
    text = value.get("prompt") if len(value) == 1 else None
    return text if isinstance(text, str) and text else None


def prompt_of(value: Row, defaults: Defaults, reader: Reader = AS_IT_IS) -> Prompt:
    """Convert a line's object to a prompt; raise as :func:`parse_line` does.

    Args:
        reader: translates the object to a plain line.
    """
    return prompt_from(reader.take(value), defaults)


def prompt_from(taken: Taken, defaults: Defaults) -> Prompt:
    """Build the prompt from the fields of a row; raise as :func:`parse_line` does."""
    findings = list(taken.findings)
    try:
        line = PlainLine.model_validate(taken.fields, extra="forbid")
    except ValidationError as error:
        named = (as_user_named(each, taken.names) for each in contract_errors(error))
        findings += map(_with_option, named)
    if findings:
        raise _one_of(findings)
    try:
        return _prompt(line, defaults)
    except ContractError as error:
        raise as_user_named(error, taken.names) from error


def _with_option(error: ContractError) -> ContractError:
    """For a column of a data set, the option that keeps it."""
    if error.remedy != UNKNOWN_REMEDY or "." in error.field:
        return error
    remedy = f"{error.remedy}, or keep it with --unknown-columns tags"
    return ContractError(error.field, error.value, error.limit, remedy)


def as_user_named(error: ContractError, names: Names) -> ContractError:
    """Return the error with the field's name in the row."""
    for ours, theirs in names.items():
        if error.field == ours or error.field.startswith(f"{ours}."):
            return error.renamed(theirs + error.field.removeprefix(ours))
    return error


def _one_of(findings: Sequence[ContractError]) -> ContractError:
    return findings[0] if len(findings) == 1 else FaultyLine(findings)


def too_long(head: bytes | Row, size: int) -> ContractError:
    """Return the error for a line of ``size`` bytes that begins with ``head``."""
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
            **_options(line),
        )
    except ValidationError as error:
        raise _one_of(contract_errors(error)) from error
    if ANSWERS_TAG in prompt.tags:
        limit = "this tag is reserved for prompts that are published with --answers"
        raise ContractError(f"tags.{ANSWERS_TAG}", GIVEN, limit, "remove the tag")
    if line.prompt_id not in {None, prompt.prompt_id}:
        limit = f"the id that belongs to this content in run {prompt.run} is {prompt.prompt_id}"
        remedy = f"remove prompt_id, or put your own id into {CUSTOM_ID}"
        raise ContractError("prompt_id", line.prompt_id, limit, remedy)
    return prompt


def _options(line: PlainLine) -> PromptOptions:
    return {
        "tools": line.tools,
        "chat_template_kwargs": line.chat_template_kwargs,
        "extra_body": line.extra_body,
        "draw": line.draw,
        "reference": line.reference,
        "category": line.category,
        "licence": line.licence,
    }


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
    """Merge the line's sampling parameters with the defaults, one by one."""
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
