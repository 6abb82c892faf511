"""A limit on concurrent requests that adapts to the server, with a first-in, first-out queue."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import structlog

log = structlog.get_logger(__name__)

GROWTH_WINDOWS = 32
"""Windows without a refusal in which the limit grows from zero to its maximum."""

HOLD_AFTER = 4
"""Consecutive refusals after which all requests wait for the time that the server asked for."""


class Aimd:
    """A limit with additive increase and multiplicative decrease, updated once per window.

    A window consists of as many responses as the limit. Accepted requests raise the limit by
    their share of a fixed step, and refused requests lower it by half their share: if all are
    refused the limit is halved, and with one random refusal in ten a limit of 256 settles at
    137. A window ends early when half of it was refused.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._step = max(1.0, maximum / GROWTH_WINDOWS)
        self._limit = float(maximum)
        self._answers = 0
        self._refusals = 0

    @property
    def limit(self) -> int:
        """The current maximum of concurrent requests; at least 1."""
        return int(self._limit)

    def answered(self, *, refused: bool) -> None:
        """Record the response to one request, which was accepted or refused for overload."""
        self._answers += 1
        self._refusals += refused
        if self._answers >= self._limit or self._refusals >= self._limit / 2:
            self._close_window()

    def _close_window(self) -> None:
        refused = self._refusals / self._answers
        limit = (self._limit + self._step * (1 - refused)) * (1 - refused / 2)
        self._limit = min(max(limit, 1.0), float(self._maximum))
        self._answers = self._refusals = 0


class Limiter:
    """Slots for concurrent requests to a server.

    A single refusal only lowers the limit. After :data:`HOLD_AFTER` consecutive refusals no
    request is sent until the time that the server asked for has passed.
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
        """The current number of slots."""
        return self._aimd.limit

    @property
    def held_s(self) -> float:
        """Seconds until requests may be sent again; 0 if they may be sent now."""
        return max(0.0, self._held_until - self._clock())

    @property
    def waiting(self) -> int:
        """Requests that wait for a slot."""
        return len(self._waiting)

    def try_acquire(self) -> bool:
        """Take a slot if one is free and no request is waiting for it."""
        free = not self._waiting and self._has_room()
        self.in_flight += free
        return free

    async def acquire(self, *, urgent: bool = False) -> None:
        """Wait for a slot and take it; an ``urgent`` request goes to the front of the queue."""
        if self.try_acquire():
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (self._waiting.appendleft if urgent else self._waiting.append)(place)
        try:
            await place
        except asyncio.CancelledError:
            self._leave_queue(place)
            raise

    def release(self) -> None:
        """Release a slot."""
        self.in_flight -= 1
        self._admit()

    def accepted(self) -> None:
        """Record that the server answered a request."""
        self._refused_in_row = 0
        self._aimd.answered(refused=False)

    def refused(self, wait_s: float) -> None:
        """Record that the server refused a request for overload.

        Args:
            wait_s: the wait before the next request, in seconds, if refusals continue.
        """
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
        """End the hold even if the clock is slightly behind the timer."""
        self._held_until = 0.0
        self._admit()

    def _has_room(self) -> bool:
        return self.in_flight < self._aimd.limit and not (self._held_until and self.held_s)

    def _admit(self) -> None:
        while self._waiting and self._has_room():
            place = self._waiting.popleft()
            if not place.done():
                self.in_flight += 1
                place.set_result(None)

    def _leave_queue(self, place: asyncio.Future[None]) -> None:
        """Leave the queue; a slot that was granted in the meantime goes to the next request."""
        if place.done() and not place.cancelled():
            self.release()
        else:
            with suppress(ValueError):
                self._waiting.remove(place)

    def close(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()
