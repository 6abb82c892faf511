"""The turnstile before a server: first come, first served; nobody is turned away."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import structlog

GROWTH = 32
"""Windows without a refusal in which the limit climbs from nothing to its maximum."""


class Aimd:
    """Additive increase, multiplicative decrease, decided once for each window of answers.

    A window is as many answers as the limit. The answers that were taken raise the limit by
    their share of a fixed step, the refusals lower it by half their share of itself: a storm
    halves it, and refusals that come by chance, one in ten, leave 256 at 137. A window that is
    half refused is closed at once.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._step = max(1.0, maximum / GROWTH)
        self._limit = float(maximum)
        self._answers = 0
        self._refusals = 0

    @property
    def limit(self) -> int:
        """Requests that may be at the server now, at least one."""
        return int(self._limit)

    def answered(self, *, refused: bool) -> None:
        """One request has come back, taken or refused for overload."""
        self._answers += 1
        self._refusals += refused
        if self._answers >= self._limit or self._refusals >= self._limit / 2:
            self._close_window()

    def _close_window(self) -> None:
        refused = self._refusals / self._answers
        limit = (self._limit + self._step * (1 - refused)) * (1 - refused / 2)
        self._limit = min(max(limit, 1.0), float(self._maximum))
        self._answers = self._refusals = 0


log = structlog.get_logger(__name__)

HOLD_AFTER = 4
"""Refusals without a success between them, after which all wait for what the server asked."""


class Limiter:
    """Slots at a server, as many as it takes.

    A server that refuses one request among many is asked on by the others. When it refuses one
    after another, nobody asks until the time that it named has passed.
    """

    def __init__(self, maximum: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._aimd = Aimd(maximum)
        self._clock = clock
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._refused_in_row = 0
        self._held_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.in_flight = 0

    @property
    def limit(self) -> int:
        """Slots there are now."""
        return self._aimd.limit

    @property
    def held_s(self) -> float:
        """Seconds until anybody may ask again."""
        return max(0.0, self._held_until - self._clock())

    @property
    def waiting(self) -> int:
        """Requests before the turnstile."""
        return len(self._waiting)

    def try_acquire(self) -> bool:
        """Take a slot if one is free and nobody waits for it."""
        free = not self._waiting and self._has_room()
        self.in_flight += free
        return free

    async def acquire(self, *, urgent: bool = False) -> None:
        """Take a slot, waiting for one; ``urgent`` goes before all others."""
        if self.try_acquire():
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (self._waiting.appendleft if urgent else self._waiting.append)(turn)
        try:
            await turn
        except asyncio.CancelledError:
            self._give_up(turn)
            raise

    def release(self) -> None:
        """Give a slot back."""
        self.in_flight -= 1
        self._admit()

    def accepted(self) -> None:
        """A request was answered."""
        self._refused_in_row = 0
        self._aimd.answered(refused=False)

    def refused(self, wait_s: float) -> None:
        """A request was refused for overload, and the server should be left alone so long."""
        self._refused_in_row += 1
        self._aimd.answered(refused=True)
        until = self._clock() + wait_s
        if self._refused_in_row >= HOLD_AFTER and until > self._held_until:
            self._hold(until)

    def _hold(self, until: float) -> None:
        if self.held_s == 0:
            log.warning("server_paused", seconds=round(until - self._clock(), 1), limit=self.limit)
        self._held_until = until
        if self._timer is not None:
            self._timer.cancel()
        delay = until - self._clock()
        self._timer = asyncio.get_running_loop().call_later(delay, self._end_hold)

    def _end_hold(self) -> None:
        """A timer may fire a little before the clock says so; it decides."""
        self._held_until = 0.0
        self._admit()

    def _has_room(self) -> bool:
        return self.in_flight < self._aimd.limit and not (self._held_until and self.held_s)

    def _admit(self) -> None:
        while self._waiting and self._has_room():
            turn = self._waiting.popleft()
            if not turn.done():
                self.in_flight += 1
                turn.set_result(None)

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        """Leave the queue; a slot that was just given is passed on."""
        if turn.done() and not turn.cancelled():
            self.release()
        else:
            with suppress(ValueError):
                self._waiting.remove(turn)

    def close(self) -> None:
        """Forget the timer."""
        if self._timer is not None:
            self._timer.cancel()
