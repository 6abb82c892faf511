"""Prompts that are the same for the same run, number by number."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count

from promptmill.inference.scripted import KILLER_MARK
from promptmill_schemas import Message, Prompt

KILLER_EVERY = 10_000
"""One prompt in so many ends the engine of whoever answers it; it has to die alone."""

CREATED_AT = datetime(2026, 1, 1, tzinfo=UTC)
"""The same for all, so that a prompt published twice is the same bytes."""


def prompt(run: str, number: int, candidates: int = 1) -> Prompt:
    """The prompt of this number; two numbers never share a text."""
    question = f"How many grains of sand fit into {number} buckets, by {run}?"
    if number % KILLER_EVERY == KILLER_EVERY - 1:
        question += f" {KILLER_MARK}"
    return Prompt.create(
        run, (Message(role="user", content=question),), n=candidates, created_at=CREATED_AT
    )


def prompts(run: str, number: int | None = None, candidates: int = 1) -> Iterator[Prompt]:
    """Those from 0 to ``number`` - 1, or without end."""
    numbers = count() if number is None else range(number)
    return (prompt(run, n, candidates) for n in numbers)
