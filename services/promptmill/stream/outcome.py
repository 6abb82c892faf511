"""Outcomes of the work as data. The work returns one, and the loop carries it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from promptmill_schemas import Contract, Topic


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A contract with the topic to which it is published."""

    topic: Topic
    contract: Contract


@dataclass(frozen=True, slots=True)
class Emit:
    """Publish these messages. The record is finished when all of them are acknowledged."""

    messages: tuple[Outgoing, ...]


@dataclass(frozen=True, slots=True)
class Drop:
    """Finish the record without publishing anything. ``reason`` is counted (``variant`` …)."""

    reason: str


@dataclass(frozen=True, slots=True)
class Retry:
    """Process the record again after ``after_s`` seconds; ``None`` uses the back-off."""

    reason: str
    detail: str
    after_s: float | None = None


@dataclass(frozen=True, slots=True)
class DeadLettered:
    """Publish a dead letter. The record is finished when the dead letter is acknowledged."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Move:
    """Publish a misplaced message again under this key, to its right partition.

    Only the loop creates this outcome; no work returns it.
    """

    key: bytes


Outcome: TypeAlias = Emit | Drop | Retry | DeadLettered
