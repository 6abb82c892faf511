"""What became of a message, as data: the loop acts on it, the work only says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from promptmill_schemas import Contract, Topic


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One contract on its way to its topic."""

    topic: Topic
    contract: Contract


@dataclass(frozen=True, slots=True)
class Emit:
    """Publish these; the message is done when all of them are acknowledged."""

    messages: tuple[Outgoing, ...]


@dataclass(frozen=True, slots=True)
class Drop:
    """Nothing to publish: the message is done. ``reason`` is counted (``variant`` …)."""

    reason: str


@dataclass(frozen=True, slots=True)
class Retry:
    """The same message again, in place, after a pause (seconds; ``None``: by back-off)."""

    reason: str
    detail: str
    after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Bury:
    """Never again: publish a dead letter; the message is done when it is acknowledged."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Move:
    """Publish the same bytes again under this key: the message stood in a wrong partition.

    The loop's own outcome; no work returns it.
    """

    key: bytes


Outcome: TypeAlias = Emit | Drop | Retry | Bury
