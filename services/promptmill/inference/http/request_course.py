"""The course of one request: its turns, its failures, its pauses, and when it has had enough."""

from __future__ import annotations

import asyncio
import random
import time
from typing import NoReturn

import structlog

from promptmill.inference.http.breaker import Breaker
from promptmill.inference.http.errors import Refused, ServerBusy, ServerFault, Unreadable
from promptmill.inference.http.limiter import Limiter
from promptmill.inference.http.options import HttpOptions
from promptmill.runtime.errors import Exhausted, Poison, Transient, Unavailable
from promptmill.runtime.timing import backoff_s

log = structlog.get_logger(__name__)

COST_OF_A_TRY = 2
"""Of an answer that was paid for, or of a refusal; a failure that gave nothing costs 1."""

LONGEST_PAUSE_S = 30.0

LONGEST_HAND_BACK_S = 60.0
"""A record that is handed back comes again at the latest then, whatever the server asks."""


class Course:
    """What one request has met so far, and what that means for its next try.

    It owns the one retry budget of its request: when that is used up the failure is final, and
    nobody above sends the request again. Only failures that may be the request's own are
    counted: not that the server is busy or away, and nothing that happened during an outage.
    """

    def __init__(self, limiter: Limiter, breaker: Breaker, options: HttpOptions) -> None:
        self._limiter = limiter
        self._breaker = breaker
        self._options = options
        self._deadline = time.monotonic() + options.patience_s
        self._outages = breaker.outages
        self._delays = 0
        self._only_unreadable = True
        self._spent = 0
        self.faults = 0

    async def turn(self) -> None:
        """Take a slot at the server; the caller gives it back.

        Raises:
            Unavailable: none was free within the patience, or the server is out of order.
            Fatal: the server takes nothing any more.
        """
        if not self._breaker.is_open and self._limiter.try_acquire():
            return
        try:
            async with asyncio.timeout(self._left_s):
                await self._wait_for_slot()
        except TimeoutError:
            self._give_up("the rate limit did not admit the request")

    def failed(self, error: Transient) -> float:
        """Take note of a failed try, for this request and for all; seconds until the next."""
        if isinstance(error, ServerFault):
            self.faults += 1
            self._spent += COST_OF_A_TRY if isinstance(error, Unreadable | Refused) else 1
            self._only_unreadable &= isinstance(error, Unreadable)
        else:
            self._delays += 1
        pause_s = self._pause_s(error)
        if isinstance(error, ServerBusy) or (isinstance(error, ServerFault) and error.overload):
            self._limiter.refused(pause_s)
        if isinstance(error, Unreadable):
            self.answered()
        elif not isinstance(error, ServerBusy):
            self._breaker.failed(error)
        return pause_s

    def answered(self) -> None:
        """The server has answered as a healthy one does, whatever it said."""
        self._limiter.accepted()
        self._breaker.succeeded()

    async def pause(self, error: Transient, pause_s: float) -> None:
        """Return when the next try is due.

        Raises:
            Poison: the budget is used up, by answers that cannot be read.
            Exhausted: the budget is used up.
            Transient: the patience is over, after failures of this very request.
            Unavailable: the patience is over.
        """
        await self._end_of_outage()
        if self._spent >= COST_OF_A_TRY * self._options.tries:
            self._blame(error)
        if self.faults and self._left_s <= 0:
            raise error
        if pause_s > self._left_s:
            self._give_up(str(error), pause_s)
        log.debug(
            "request_retried", error=str(error), faults=self.faults, pause_s=round(pause_s, 2)
        )
        await asyncio.sleep(pause_s)

    @property
    def _left_s(self) -> float:
        return self._deadline - time.monotonic()

    async def _wait_for_slot(self) -> None:
        while True:
            await self._breaker.passage()
            await self._limiter.acquire(urgent=self.faults + self._delays > 0)
            if not self._breaker.is_open:
                return
            self._limiter.release()

    def _pause_s(self, error: Transient) -> float:
        """What the server asks for and a little more, or a back-off, spread by chance."""
        number = self.faults if isinstance(error, ServerFault) else self._delays
        pause_s = backoff_s(number, self._options.first_pause_s, LONGEST_PAUSE_S)
        if error.retry_after_s is None:
            return pause_s
        chance = random.random()  # noqa: S311 - spreads requests, hides nothing
        return max(error.retry_after_s * (1 + chance / 10), min(pause_s, 1.0))

    async def _end_of_outage(self) -> None:
        """Wait until the breaker is closed; failures of an outage are forgiven."""
        if self._breaker.is_open:
            try:
                async with asyncio.timeout(self._left_s):
                    await self._breaker.passage()
            except TimeoutError:
                self._give_up(self._breaker.last_error)
        if self._breaker.outages != self._outages:
            self._outages = self._breaker.outages
            self.faults = self._spent = 0

    def _blame(self, error: Transient) -> NoReturn:
        if self._only_unreadable:
            raise Poison(f"{error}; the server answered this {self.faults} times") from error
        raise Exhausted(f"{error}; this was attempt {self.faults}, the last one") from error

    def _give_up(self, because: str, pause_s: float = 0.0) -> NoReturn:
        wait_s = max(pause_s, self._limiter.held_s)
        raise Unavailable(
            f"the server accepted no request for {self._options.patience_s:g} s ({because}); the "
            "record waits until it does",
            retry_after_s=min(wait_s, LONGEST_HAND_BACK_S),
        )
