"""Claims made of short names, servers on which dedup stores share them, and keys of contents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from promptmill.dedup.ports import (
    TOKEN_DIGITS,
    Claim,
    Claimed,
    Decision,
    Decisions,
    DedupStore,
    Digests,
    RecordKey,
    Variant,
    Verdict,
)
from promptmill_schemas import Message
from promptmill_schemas.content import FinalAnswer, content_digest, exact_turns
from promptmill_schemas.ids import digest

POLICY = "test@1"


class Harness(Protocol):
    """Where dedup stores share claims."""

    async def dedup_store(self, *, sketches: bool = False) -> DedupStore:
        """One more dedup store, started; it is stopped after the test."""

    async def empty(self) -> None:
        """Lose everything, as a server does that was flushed."""

    async def silence(self) -> None:
        """Let every dedup store that rebuilds now count as one that has been silent for long."""


@dataclass
class Published:
    """What a store would tell; it may be called at any step of the telling.

    Attributes:
        before_each: awaited before each claim, with its number.
    """

    claims: tuple[Claimed | Decisions, ...] = ()
    before_each: Callable[[int], Awaitable[None]] | None = None
    read: int = 0

    async def __aiter__(self) -> AsyncIterator[Claimed | Decisions]:
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


def block(*published: Claimed) -> Decisions:
    """Published decisions as one block; each has one record, or none has any."""
    versions = tuple(dict.fromkeys(each.policy for each in published))
    records = [each.records[0] for each in published if each.records]
    return Decisions(
        _digests(each.prompt_id for each in published),
        _digests(each.decision_id for each in published),
        versions,
        np.array([versions.index(each.policy) for each in published], np.intp),
        np.array([each.replays for each in published], np.int64),
        (_digests(r.record_id for r in records), _digests(r.content for r in records))
        if records
        else None,
    )


def _digests(digests: Iterable[str]) -> Digests:
    return np.frombuffer(bytes.fromhex("".join(digests)), np.uint8).reshape(-1, 16)


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


def content_key(
    kind: str,
    prompt: Sequence[Message],
    chosen: str,
    rejected: str | None = None,
    tools: Sequence[Any] | None = None,
) -> str:
    """The id of the content of a record without calls of tools in its answers.

    Args:
        prompt: what the record continues, without its answer.
    """
    answers = [FinalAnswer(text) for text in (chosen, rejected) if text is not None]
    return content_digest(kind, exact_turns(prompt, tools), answers)
