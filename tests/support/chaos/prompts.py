"""Prompts that are the same for the same run, number by number."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count

from promptmill_schemas import Message, Prompt

CREATED_AT = datetime(2026, 1, 1, tzinfo=UTC)
"""The same for all, so that a prompt published twice is the same bytes."""


def prompt(run: str, number: int, candidates: int = 1) -> Prompt:
    """The prompt of this number; two numbers never share a text."""
    question = f"How many grains of sand fit into {number} buckets, by {run}?"
    return Prompt.create(
        run, (Message(role="user", content=question),), n=candidates, created_at=CREATED_AT
    )


def prompts(run: str, number: int | None = None, candidates: int = 1) -> Iterator[Prompt]:
    """Those from 0 to ``number`` - 1, or without end."""
    numbers = count() if number is None else range(number)
    return (prompt(run, n, candidates) for n in numbers)
