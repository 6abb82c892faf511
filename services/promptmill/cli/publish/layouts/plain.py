"""Plain lines: what a row of any layout becomes before it is a prompt."""

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
"""Fields of the plain line, and what they are called in the row."""


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
"""Fields that keep their meaning in rows of every layout."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What was taken from a row.

    Attributes:
        fields: of a plain line.
        names: what the fields are called in the row.
        findings: what is wrong with the row already.
        answers: the given answers as turns of the assistant, where they are wanted.
        model: who gave them, if the row says so.
    """

    fields: Row
    names: Names
    findings: tuple[ContractError, ...] = ()
    answers: tuple[Any, ...] = ()
    model: str | None = None


def present(row: Row) -> Row:
    """The columns that are not null."""
    return {name: value for name, value in row.items() if value is not None}


def read_columns(row: Row) -> Row:
    """The columns that are not null; conversations that are JSON in a text are read."""
    found = present(row)
    for name in CONVERSATIONS & found.keys():
        found[name] = parsed(found[name])
    return found


def column_of(row: Row, *names: str) -> str:
    """The first of these columns that the row has; raises :class:`ContractError`."""
    found = next((name for name in names if name in row), None)
    if found is None:
        limit = f"a row of this layout has {' or '.join(names)}"
        remedy = "add the column, or name another layout with --layout"
        raise ContractError(names[0], MISSING, limit, remedy)
    return found


def parsed(value: Any) -> Any:
    """What a text that is JSON means; anything else as it is."""
    import orjson

    try:
        return orjson.loads(value) if isinstance(value, str) and value.strip() else value
    except orjson.JSONDecodeError:
        return value


def answer_reference(value: Any) -> Row | None:
    """A known answer as a reference; ``None`` of an empty one."""
    import orjson

    if value is None or value in ("", [], {}):
        return None
    text = value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
    return {"kind": "answer", "answer": text}
