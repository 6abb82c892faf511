"""Types of fields whose errors stay few and whose values every table holds.

A validator that collects an error for each item of a list makes a thousand times the memory of
the message, so lists stop at the first wrong item and objects are counted before their items
are looked at.
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
    """With a hash, so that ``Items[…] | None`` is a type."""

    __hash__ = object.__hash__


FIRST_YEAR: Final = 1700
LAST_YEAR: Final = 2261
"""A table's reader may count in nanoseconds, of which 63 bits last from 1677 to 2262."""


def _few(value: Any) -> Any:
    if isinstance(value, dict) and len(value) > MAX_TAGS:
        raise PydanticCustomError(
            "too_long",
            "Object should have at most {limit} items, not {count}",
            {"limit": MAX_TAGS, "count": len(value)},
        )
    return value


def _in_reach(value: datetime) -> datetime:
    """A time whose UTC form lies outside the years 1 to 9999 could be stored but never read."""
    if not FIRST_YEAR < value.year < LAST_YEAR:
        raise PydanticCustomError(
            "time_out_of_range",
            "Time should lie between the years {first} and {last}",
            {"first": FIRST_YEAR + 1, "last": LAST_YEAR - 1},
        )
    return value


Items: TypeAlias = Annotated[tuple[T, ...], _StopAtFirst()]
"""A list, of which only the first wrong item is reported."""

SmallObject: TypeAlias = Annotated[dict[str, T], Field(max_length=MAX_TAGS), BeforeValidator(_few)]
"""An object with at most ``MAX_TAGS`` names."""

Tag = Annotated[str, StringConstraints(max_length=MAX_TAG_CHARACTERS)]
Tags: TypeAlias = SmallObject[Tag]
Time = Annotated[AwareDatetime, AfterValidator(_in_reach)]
