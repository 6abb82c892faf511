"""JSON as servers write it, which is not always valid JSON."""

from __future__ import annotations

import json
from typing import Any

import orjson
from pydantic_core import from_json


def parse_json(raw: bytes) -> Any:
    """Parse JSON. NaN and Infinity are accepted, so that an error can name the field.

    An answer is paid for, so one broken letter does not make it unreadable: half a surrogate pair
    and bytes that are not UTF-8 become U+FFFD, and control characters in texts are kept.

    Raises:
        ValueError: ``raw`` is not JSON.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        try:
            return from_json(raw, allow_inf_nan=True)
        except ValueError:
            return _repaired(raw, error)


def _repaired(raw: bytes, error: ValueError) -> Any:
    try:
        value = json.loads(raw.decode("utf-8-sig", "replace"), strict=False)
        text = json.dumps(value, ensure_ascii=False)
        whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return json.loads(whole, strict=False)
    except (ValueError, RecursionError):
        raise error from None
