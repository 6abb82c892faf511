"""Types of fields with bounded errors, whose values all tables can store.

A validator that collects an error for every item of a list can use a thousand times the memory of
the message. So lists stop at the first invalid item, and objects are counted before their items
are validated.
"""

from __future__ import annotations

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

from promptmill_schemas.limits import MAX_TAG_CHARACTERS, MAX_TAGS

T = TypeVar("T")


class _StopAtFirst(FailFast):
    """Hashable, so that ``Items[…] | None`` is a valid type."""

    __hash__ = object.__hash__


FIRST_YEAR: Final = 1700
LAST_YEAR: Final = 2261
"""Readers of tables may use nanoseconds in 63 bits, which cover the years 1677 to 2262."""


def _few(value: Any) -> Any:
    if isinstance(value, dict) and len(value) > MAX_TAGS:
        raise PydanticCustomError(
            "too_long",
            "Object should have at most {limit} items, not {count}",
            {"limit": MAX_TAGS, "count": len(value)},
        )
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

Tag = Annotated[str, StringConstraints(max_length=MAX_TAG_CHARACTERS)]
Tags: TypeAlias = SmallObject[Tag]
Time = Annotated[AwareDatetime, AfterValidator(_in_reach)]
