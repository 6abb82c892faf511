"""Restricts free-form JSON in a contract to values that every reader preserves."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from promptmill_schemas.errors import LocalError
from promptmill_schemas.limits import MAX_JSON_DEPTH

MAX_INT_BITS = 63


def require_plain_json(value: Any, field: str) -> None:
    """Refuse values that JSON cannot preserve, because they would change the id of a prompt.

    Args:
        value: parsed JSON.
        field: dotted path of ``value`` from the object that is validated, for the error.

    Raises:
        LocalError: a number is not finite or too large, or the nesting is too deep.
    """
    for path, item, depth in _walk(value, field, 1):
        if depth > MAX_JSON_DEPTH:
            limit = f"at most {MAX_JSON_DEPTH} levels of nesting"
            raise LocalError(field, value, limit, "flatten the value")
        if isinstance(item, float) and not math.isfinite(item):
            raise LocalError(path, item, "a finite number", "use a finite number")
        if isinstance(item, int) and item.bit_length() > MAX_INT_BITS:
            limit = f"an integer of at most {MAX_INT_BITS} bits"
            raise LocalError(path, item, limit, "use a smaller number")


def _walk(value: Any, path: str, depth: int) -> Iterable[tuple[str, Any, int]]:
    yield path, value, depth
    if depth > MAX_JSON_DEPTH:
        return
    for key, item in _items(value):
        yield from _walk(item, f"{path}.{key}" if path else str(key), depth + 1)


def _items(value: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, list | tuple) else ()
