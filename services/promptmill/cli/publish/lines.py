"""One line of input becomes one prompt, or one error that says all that is wrong with it.

What a row's columns mean is known to ``layouts``. Nothing here knows files, line numbers or Kafka.
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
    """The part of a :class:`~promptmill.cli.publish.layouts.reading.RowReader` that is needed."""

    @property
    def reads_texts(self) -> bool:
        """Whether a row with a ``prompt`` and nothing else is that prompt."""

    def take(self, row: Row) -> Taken:
        """What the row says."""


AS_IT_IS: Reader = RowReader()
"""Each row by its own layout."""


class FaultyLine(ContractError):
    """Several things are wrong with a line; the first is the most relevant one.

    Attributes:
        findings: all of them.
    """

    def __init__(self, findings: Sequence[ContractError]) -> None:
        first = findings[0]
        super().__init__(first.field, first.value, first.limit, first.remedy)
        self.findings = tuple(findings)

    def __str__(self) -> str:
        return "; also ".join(map(str, self.findings))


def findings_of(error: ContractError) -> tuple[ContractError, ...]:
    """All that is wrong with a line."""
    return error.findings if isinstance(error, FaultyLine) else (error,)


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds for every line that does not say otherwise; ``tags`` are added to each."""

    run: str
    n: int = 1
    sampling: Sampling = field(default_factory=Sampling)
    adapter: str | None = None
    tags: dict[str, str] = field(default_factory=dict)


def parse_line(raw: bytes | Row, defaults: Defaults) -> Prompt:
    """The prompt that the line holds.

    Raises:
        ContractError: names the field as the line does, its value, the limit and a remedy.
    """
    return prompt_of(parse_object(raw), defaults)


def parse_object(raw: bytes | Row) -> Row:
    """The JSON object that the line holds, or the row itself; raises :class:`ContractError`."""
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
    """The same, or ``None`` where there is none."""
    try:
        return parse_object(raw)
    except ContractError:
        return None


def only_text(value: Row) -> str | None:
    """The prompt of a line that holds nothing else; the line is valid as it is."""
    text = value.get("prompt") if len(value) == 1 else None
    return text if isinstance(text, str) and text else None


def prompt_of(value: Row, defaults: Defaults, reader: Reader = AS_IT_IS) -> Prompt:
    """The prompt that the line's object stands for; raises as :func:`parse_line`.

    Args:
        reader: knows what the object's columns mean.
    """
    return prompt_from(reader.take(value), defaults)


def prompt_from(taken: Taken, defaults: Defaults) -> Prompt:
    """The prompt of what was taken from a row; raises as :func:`parse_line`."""
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
    """The same error with the field's name of the row."""
    for ours, theirs in names.items():
        if error.field == ours or error.field.startswith(f"{ours}."):
            return error.renamed(theirs + error.field.removeprefix(ours))
    return error


def _one_of(findings: Sequence[ContractError]) -> ContractError:
    return findings[0] if len(findings) == 1 else FaultyLine(findings)


def too_long(head: bytes | Row, size: int) -> ContractError:
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
            **_options(line),
        )
    except ValidationError as error:
        raise _one_of(contract_errors(error)) from error
    if ANSWERS_TAG in prompt.tags:
        limit = "this tag is kept for prompts that are published with --answers"
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
