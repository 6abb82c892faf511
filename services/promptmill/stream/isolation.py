"""Decides which records may run together when some are suspected of ending the engine.

This module is pure bookkeeping, without I/O or a clock.

A record that was in flight when a worker died is a suspect. After one death, suspects run
together; after two, in a small group; after more, each runs alone. Most deaths are not a record's
fault (the host went down, or someone sent SIGKILL), and then the first step costs almost nothing.
The size of a group is the square root of the slots: a worker with 64 slots finds one engine
killer among 64 suspects in eight groups and then eight single runs. While suspects wait or run,
no other record begins, because another death would make it a suspect too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import IntEnum
from math import isqrt
from typing import Final, Generic, TypeVar

from promptmill.stream.in_flight import Deaths
from promptmill.stream.outcome import DeadLettered

Item = TypeVar("Item")

LONE_DEATHS: Final = 2
"""One death of a record that ran alone may be a coincidence; two in a row are its fault."""


class Risk(IntEnum):
    """Which other records a record may run with."""

    NONE = 0
    SUSPECTS = 1
    GROUP = 2
    ALONE = 3


_BY_SUSPICION: Final = (Risk.ALONE, Risk.GROUP, Risk.SUSPECTS)
_OTHER: Final = {Risk.GROUP: Risk.SUSPECTS, Risk.SUSPECTS: Risk.GROUP}


class Isolation(Generic[Item]):
    """Decides which record may begin next, and which is dead-lettered without being run.

    Args:
        slots: records in flight at the same time.
        engine_deaths: deaths before a record is dead-lettered; in the last two it ran alone.
    """

    def __init__(self, slots: int, engine_deaths: int) -> None:
        self.group = max(1, isqrt(slots))
        self._engine_deaths = engine_deaths
        self._is_single = slots == 1
        self._running = dict.fromkeys(Risk, 0)
        self._waiting: dict[Risk, deque[Item]] = {risk: deque() for risk in _BY_SUSPICION}

    @property
    def waiting(self) -> int:
        """Suspects that wait for their turn."""
        return sum(map(len, self._waiting.values()))

    def is_killer(self, deaths: Deaths) -> bool:
        """Whether the record is an engine killer, which is not run again."""
        return deaths.total >= self._engine_deaths and deaths.alone >= LONE_DEATHS

    def risk_of(self, deaths: Deaths) -> Risk:
        """The risk of a record with these deaths; an engine killer has none, as it is not run."""
        return Risk.NONE if self.is_killer(deaths) else Risk(min(deaths.total, Risk.ALONE))

    def verdict(self, deaths: Deaths) -> DeadLettered | None:
        """The dead letter of an engine killer; ``None`` for any other record."""
        if not self.is_killer(deaths):
            return None
        return DeadLettered(
            "engine_killer",
            f"workers died {deaths.total} times while this record was being processed, the last "
            f"{deaths.alone} times with no other record beside it, so it was not run again. See "
            "the worker's log for how the engine died; once the cause is fixed, send the record "
            "again with `promptmill dead replay --where reason=engine_killer`",
        )

    def is_alone(self, risk: Risk) -> bool:
        """Whether a record of this risk runs with no other record in flight."""
        return risk is Risk.ALONE or self._is_single

    def add(self, risk: Risk, suspect: Item) -> None:
        """Queue a suspect."""
        self._waiting[risk].append(suspect)

    def forget(self, is_gone: Callable[[Item], bool]) -> None:
        """Remove the suspects for which ``is_gone`` is true."""
        for risk, suspects in self._waiting.items():
            self._waiting[risk] = deque(each for each in suspects if not is_gone(each))

    def take(self) -> tuple[Risk, Item] | None:
        """Take the next suspect that may begin now, those with the most deaths first."""
        for risk in _BY_SUSPICION:
            if suspects := self._waiting[risk]:
                return (risk, suspects.popleft()) if self._may_begin(risk) else None
        return None

    def _may_begin(self, risk: Risk) -> bool:
        """Whether the running records allow this one; a lone run waits until all have ended."""
        if risk is Risk.ALONE:
            return not any(self._running.values())
        if self._running[Risk.ALONE] or self._running[_OTHER[risk]]:
            return False
        return risk is Risk.SUSPECTS or self._running[Risk.GROUP] < self.group

    @property
    def admits_others(self) -> bool:
        """Whether records that are not suspects may begin."""
        return not (self.waiting or any(self._running[risk] for risk in _BY_SUSPICION))

    def began(self, risk: Risk) -> None:
        """A record has taken a slot."""
        self._running[risk] += 1

    def ended(self, risk: Risk) -> None:
        """A record has released its slot."""
        self._running[risk] -= 1
