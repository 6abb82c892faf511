"""Plain lines, to which rows of every layout are translated before they become prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, StringConstraints

from promptmill_schemas import Contract, ContractError, Message, Sampling
from promptmill_schemas.errors import MISSING
from promptmill_schemas.fields import Id, Int, Items, JsonObject, Label, OrAbsent, Tags, Text
from promptmill_schemas.limits import MAX_CANDIDATES, MAX_MESSAGES, MAX_TAG_CHARACTERS
from promptmill_schemas.prompt import Tools
from promptmill_schemas.reference import Reference

Row = dict[str, Any]
Names = dict[str, str]
"""The names of a plain line's fields in the original row, by field."""


def _number_as_text(value: Any) -> Any:
    return str(value) if type(value) is int else value


LineId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_TAG_CHARACTERS),
    BeforeValidator(_number_as_text),
]


class PlainLine(Contract):
    """The fields of a line; an absent or null field takes the default of the command line.

    A misspelt field is refused, also in nested contracts.
    """

    prompt: Text | None = None
    messages: Items[Message] | None = Field(default=None, min_length=1, max_length=MAX_MESSAGES)
    n: Int | None = Field(default=None, ge=1, le=MAX_CANDIDATES)
    sampling: Sampling | None = None
    adapter: Text | None = None
    tools: OrAbsent[Tools] = None
    chat_template_kwargs: OrAbsent[JsonObject] = None
    extra_body: OrAbsent[JsonObject] = None
    draw: Int | None = Field(default=None, ge=1)
    tags: Tags | None = None
    reference: Reference | None = None
    category: OrAbsent[Label] = None
    licence: OrAbsent[Label] = None
    id: LineId | None = None
    custom_id: LineId | None = None
    prompt_id: Id | None = None


FIELDS: Final = frozenset(PlainLine.model_fields)
CONVERSATIONS: Final = frozenset({"messages", "conversations", "conversation"})
OPTIONS: Final = FIELDS - {"prompt", "messages", "id", "custom_id", "prompt_id", "draw"}
"""The fields that have the same meaning in rows of every layout."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The result of reading a row.

    Attributes:
        fields: the fields of a plain line.
        names: the fields' names in the row.
        findings: the errors found in the row so far.
        answers: the given answers as turns of the assistant, if they are wanted.
        model: the model that gave the answers, if the row names it.
    """

    fields: Row
    names: Names
    findings: tuple[ContractError, ...] = ()
    answers: tuple[Any, ...] = ()
    model: str | None = None


def present(row: Row) -> Row:
    """Return the columns that are not null."""
    return {name: value for name, value in row.items() if value is not None}


def read_columns(row: Row) -> Row:
    """Return the columns that are not null, with conversations in JSON text parsed."""
    found = present(row)
    for name in CONVERSATIONS & found.keys():
        found[name] = parsed(found[name])
    return found


def column_of(row: Row, *names: str) -> str:
    """Return the first of these columns that the row has, or raise :class:`ContractError`."""
    found = next((name for name in names if name in row), None)
    if found is None:
        limit = f"a row of this layout has {' or '.join(names)}"
        remedy = "add the column, or name another layout with --layout"
        raise ContractError(names[0], MISSING, limit, remedy)
    return found


def parsed(value: Any) -> Any:
    """Parse a text that is JSON; return any other value unchanged."""
    import orjson

    try:
        return orjson.loads(value) if isinstance(value, str) and value.strip() else value
    except orjson.JSONDecodeError:
        return value


def answer_reference(value: Any) -> Row | None:
    """Return a known answer as a reference, or ``None`` if it is empty."""
    import orjson

    if value is None or value in ("", [], {}):
        return None
    text = value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
    return {"kind": "answer", "answer": text}
