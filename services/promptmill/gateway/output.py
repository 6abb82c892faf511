"""What commands print: results on standard output, everything else on standard error."""

from __future__ import annotations

import sys
from typing import Any


def print_json(value: Any) -> None:
    """One JSON document on a line of its own."""
    import orjson

    print_bytes(orjson.dumps(value))


def print_bytes(line: bytes) -> None:
    """A line of UTF-8 text, visible at once."""
    sys.stdout.write(line.decode() + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """A line for the person, not part of the result."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def is_watched() -> bool:
    """Whether a person sees standard error as it is written."""
    return sys.stderr.isatty()
