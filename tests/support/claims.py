"""Claims made of short names, and the worlds in which gates share them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from promptmill.core.gates.base import (
    TOKEN_DIGITS,
    Claim,
    Claimed,
    Decision,
    Gate,
    RecordKey,
    Variant,
    Verdict,
)
from promptmill_schemas.ids import digest

POLICY = "test@1"


class World(Protocol):
    """Where gates share claims."""

    async def gate(self, *, sketches: bool = False) -> Gate:
        """One more gate, started; it is stopped after the test."""

    async def empty(self) -> None:
        """Lose everything, as a server does that was flushed."""


@dataclass
class Published:
    """What a store would tell; it may be called at any step of the telling.

    Attributes:
        before_each: awaited before each claim, with its number.
    """

    claims: tuple[Claimed, ...] = ()
    before_each: Callable[[int], Awaitable[None]] | None = None
    read: int = 0

    async def __aiter__(self) -> AsyncIterator[Claimed]:
        for number, claimed in enumerate(self.claims):
            await asyncio.sleep(0)
            if self.before_each is not None:
                await self.before_each(number)
            self.read += 1
            yield claimed


def key(record: str, content: str = "") -> RecordKey:
    """A record named by any text, with content of its own unless given."""
    return RecordKey(record_id(record), digest("content", content or record))


def record_id(record: str) -> str:
    """The id of a record named by any text."""
    return digest("record", record)


def token(record: str) -> str:
    """How a verdict names the record."""
    return record_id(record)[:TOKEN_DIGITS]


def claim(
    prompt: str,
    *options: RecordKey,
    decision: str = "first",
    policy: str = POLICY,
    limit: int = 1,
    replays: int = 0,
) -> Claim:
    """A claim about the prompt named by any text."""
    return Claim(
        digest("prompt", prompt),
        digest("decision", prompt, decision),
        policy,
        options,
        limit,
        replays=replays,
    )


def claimed(prompt: str, *records: RecordKey, decision: str = "first", replays: int = 0) -> Claimed:
    """What was published about the prompt."""
    decided = digest("decision", prompt, decision)
    return Claimed(digest("prompt", prompt), decided, POLICY, records, replays)


def accepted(decision: Decision) -> tuple[str, ...]:
    """The records of a verdict, by their tokens; empty for a reject."""
    assert isinstance(decision, Verdict), decision
    return decision.accepted


def is_variant(decision: Decision) -> bool:
    """Whether there is no verdict."""
    return isinstance(decision, Variant)


def tokens(records: Iterable[str]) -> tuple[str, ...]:
    """How a verdict names these records."""
    return tuple(map(token, records))
