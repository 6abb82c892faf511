"""How far a slow step of the local stack has come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Progress:
    """One step's position.

    Attributes:
        step: what is being done, in words for a person.
        done: how much of it is done, in ``unit``.
        total: how much there is to do, in ``unit``.
    """

    step: str
    done: int
    total: int
    unit: Literal["bytes", "servers"]


OnProgress = Callable[[Progress], None]


def ignore(_: Progress) -> None:
    """Tells nobody."""
