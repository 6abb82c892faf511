"""Types of fields with bounded errors, whose values all tables can store.

A validator that collects an error for every item of a list can use a thousand times the memory of
the message. The validation of lists therefore stops at the first invalid item, and the items of
objects are counted before they are validated.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Annotated, Any, Final, TypeAlias, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    FailFast,
    Field,
    StringConstraints,
)
from pydantic_core import PydanticCustomError

from promptmill_schemas.limits import MAX_RUN_CHARACTERS, MAX_TAG_CHARACTERS, MAX_TAGS
from promptmill_schemas.plain_json import MAX_INT_BITS, require_plain_json

T = TypeVar("T")


class _StopAtFirst(FailFast):
    """A hashable marker, so that ``Items[…] | None`` is a valid type."""

    __hash__ = object.__hash__


FIRST_YEAR: Final = 1700
LAST_YEAR: Final = 2261
"""The last accepted year, since nanoseconds in 63 bits cover the years 1677 to 2262."""


def _few(value: Any) -> Any:
    if isinstance(value, dict) and len(value) > MAX_TAGS:
        raise PydanticCustomError(
            "too_long",
            "Object should have at most {limit} items, not {count}",
            {"limit": MAX_TAGS, "count": len(value)},
        )
    return value


def _without_nulls(value: Any) -> Any:
    """Treat the null columns of a data set's row as absent."""
    if isinstance(value, dict) and None in value.values():
        return {name: item for name, item in value.items() if item is not None}
    return value


def _empty_is_absent(value: Any) -> Any:
    return None if value in ("", [], (), {}) else value


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    require_plain_json(value, "")
    return value


def _tag_as_text(value: Any) -> Any:
    """Write a number or a truth value as JSON does."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() <= MAX_INT_BITS:
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    return value


def _in_reach(value: datetime) -> datetime:
    """Refuse times that could be stored but not read again."""
    if not FIRST_YEAR < value.year < LAST_YEAR:
        raise PydanticCustomError(
            "time_out_of_range",
            "Time should lie between the years {first} and {last}",
            {"first": FIRST_YEAR + 1, "last": LAST_YEAR - 1},
        )
    return value


Items: TypeAlias = Annotated[tuple[T, ...], _StopAtFirst()]
"""A list, of which only the first invalid item is reported."""

SmallObject: TypeAlias = Annotated[dict[str, T], Field(max_length=MAX_TAGS), BeforeValidator(_few)]
"""An object with at most ``MAX_TAGS`` names."""

Int = Annotated[int, Field(strict=True)]
Float = Annotated[float, Field(strict=True)]
Text = Annotated[str, StringConstraints(min_length=1)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TAG_CHARACTERS)]
Id = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
RunName = Annotated[
    str, StringConstraints(pattern=rf"^[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_RUN_CHARACTERS - 1}}}$")
]

OrAbsent: TypeAlias = Annotated[T | None, BeforeValidator(_empty_is_absent)]
"""A value or ``None``; an empty text, list or object counts as absent."""

JsonObject: TypeAlias = Annotated[SmallObject[Any], AfterValidator(_plain)]
"""Any JSON that every reader preserves, in an object with at most ``MAX_TAGS`` names."""

Tag = Annotated[
    str,
    StringConstraints(max_length=MAX_TAG_CHARACTERS),
    BeforeValidator(_tag_as_text, json_schema_input_type=str | int | float | bool),
]
"""A text; numbers and truth values are accepted and kept as their JSON text."""

Tags: TypeAlias = Annotated[SmallObject[Tag], BeforeValidator(_without_nulls)]
Time = Annotated[AwareDatetime, AfterValidator(_in_reach)]
