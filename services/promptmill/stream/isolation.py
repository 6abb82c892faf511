"""What may be at work beside what, when records are suspected of ending the engine.

This is pure bookkeeping: no I/O, no clock.

A record that was at work when a worker died is a suspect. After one death, suspects run together;
after two, in a small group; after more, each runs alone. Most deaths are not a record's fault (a
host that was taken away, a ``kill -9``), and then the first step costs next to nothing. The group
has the square root of the slots: a worker with 64 slots finds one killer among 64 suspects in
eight groups and then eight lone runs. While suspects wait or run, no other record begins, for it
could only become a suspect too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import IntEnum
from math import isqrt
from typing import Final, Generic, TypeVar

from promptmill.stream.in_flight import Deaths
from promptmill.stream.outcome import Bury

Item = TypeVar("Item")

LONE_DEATHS: Final = 2
"""A single death of a lone record may be anybody's ``kill -9``; two in a row are its own."""


class Risk(IntEnum):
    """What a record may run beside."""

    NONE = 0
    SUSPECTS = 1
    GROUP = 2
    ALONE = 3


_BY_SUSPICION: Final = (Risk.ALONE, Risk.GROUP, Risk.SUSPECTS)
_OTHER: Final = {Risk.GROUP: Risk.SUSPECTS, Risk.SUSPECTS: Risk.GROUP}


class Isolation(Generic[Item]):
    """Decides what may begin next, and when a record is dead-lettered without being run.

    Args:
        slots: records at work at once.
        engine_deaths: deaths before a record is dead-lettered; the last two are lone ones.
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
        """Whether the record is not run again."""
        return deaths.total >= self._engine_deaths and deaths.alone >= LONE_DEATHS

    def risk_of(self, deaths: Deaths) -> Risk:
        """What a record with these deaths may run beside; a killer is not run at all."""
        return Risk.NONE if self.is_killer(deaths) else Risk(min(deaths.total, Risk.ALONE))

    def verdict(self, deaths: Deaths) -> Bury | None:
        """The outcome of a killer."""
        if not self.is_killer(deaths):
            return None
        return Bury(
            "engine_killer",
            f"workers died {deaths.total} times while this record was being processed, the last "
            f"{deaths.alone} times with no other record beside it, so it was not run again. See "
            "the worker's log for how the engine died; once the cause is fixed, send the record "
            "again with `promptmill dead replay --where reason=engine_killer`",
        )

    def is_alone(self, risk: Risk) -> bool:
        """Whether a record of this risk has nothing beside it from its begin to its end."""
        return risk is Risk.ALONE or self._is_single

    def add(self, risk: Risk, suspect: Item) -> None:
        """A suspect waits for its turn."""
        self._waiting[risk].append(suspect)

    def forget(self, is_gone: Callable[[Item], bool]) -> int:
        """Drop suspects that leave; how many."""
        before = self.waiting
        for risk, suspects in self._waiting.items():
            self._waiting[risk] = deque(each for each in suspects if not is_gone(each))
        return before - self.waiting

    def take(self) -> tuple[Risk, Item] | None:
        """The suspect that may begin now, the most suspicious first."""
        for risk in _BY_SUSPICION:
            if suspects := self._waiting[risk]:
                return (risk, suspects.popleft()) if self._may_begin(risk) else None
        return None

    def _may_begin(self, risk: Risk) -> bool:
        """Whether what is running leaves room; the most suspicious wait for the others to end."""
        if risk is Risk.ALONE:
            return not any(self._running.values())
        if self._running[Risk.ALONE] or self._running[_OTHER[risk]]:
            return False
        return risk is Risk.SUSPECTS or self._running[Risk.GROUP] < self.group

    @property
    def admits_others(self) -> bool:
        """Whether records that are no suspects may begin."""
        return not (self.waiting or any(self._running[risk] for risk in _BY_SUSPICION))

    def began(self, risk: Risk) -> None:
        """A record has taken a slot."""
        self._running[risk] += 1

    def ended(self, risk: Risk) -> None:
        """It has given it back."""
        self._running[risk] -= 1
