"""The attempts of one request: its slots, failures and pauses, and its retry budget."""

from __future__ import annotations

import asyncio
import random
import time
from typing import NoReturn

import structlog

from promptmill.inference.http.breaker import Breaker
from promptmill.inference.http.errors import (
    Interrupted,
    OutOfQuota,
    Refused,
    ServerBusy,
    ServerFault,
    Unreadable,
)
from promptmill.inference.http.limiter import Limiter
from promptmill.inference.http.options import HttpOptions
from promptmill.runtime.errors import Exhausted, Poison, Transient, Unavailable
from promptmill.runtime.timing import backoff_s

log = structlog.get_logger(__name__)

ATTEMPT_COST = 2
"""Cost of an answer that is billed, or of a refusal; a failure without an answer costs 1."""

_COSTLY = (Unreadable, Interrupted, Refused)

MAX_PAUSE_S = 30.0

MAX_RETRY_AFTER_S = 60.0
"""Maximum delay before the record is retried, even if the server asks for a longer one."""


class RequestRetries:
    """The failed attempts of one request, and the decision whether to try again.

    It owns the only retry budget of the request: when it is used up, the failure is final, and
    no caller sends the request again. Only failures that the request itself may have caused are
    counted. A server that is busy or unreachable does not count, nor does any failure during an
    outage.
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

    async def acquire_slot(self) -> None:
        """Wait for a slot of the limiter and take it; the caller has to release it.

        Raises:
            Unavailable: no slot was free within ``patience_s``, or there is an outage.
            Fatal: the server permanently refuses requests.
        """
        if not self._breaker.is_open and self._limiter.try_acquire():
            return
        try:
            async with asyncio.timeout(self._left_s):
                await self._wait_for_slot()
        except TimeoutError:
            self._give_up("the rate limit did not admit the request")

    def failed(self, error: Transient) -> float:
        """Record a failed attempt here, in the limiter and in the breaker.

        Returns:
            The pause before the next attempt, in seconds.
        """
        if isinstance(error, ServerFault):
            self.faults += 1
            self._spent += ATTEMPT_COST if isinstance(error, _COSTLY) else 1
            self._only_unreadable &= isinstance(error, Unreadable)
        else:
            self._delays += 1
        pause_s = self._pause_s(error)
        if isinstance(error, OutOfQuota):
            self._breaker.failed(error)
            return pause_s
        if isinstance(error, ServerBusy) or (isinstance(error, ServerFault) and error.overload):
            self._limiter.refused(pause_s)
        if isinstance(error, Unreadable):
            self.answered()
        elif not isinstance(error, ServerBusy):
            self._breaker.failed(error)
        return pause_s

    def answered(self) -> None:
        """Record that the server answered, whatever the answer was."""
        self._limiter.accepted()
        self._breaker.succeeded()

    async def pause(self, error: Transient, pause_s: float) -> None:
        """Return when the next attempt is due.

        Raises:
            Poison: unreadable answers have used up the retry budget.
            Exhausted: other failures have used up the retry budget.
            Transient: ``patience_s`` has passed, and this request itself has failed.
            Unavailable: ``patience_s`` has passed.
        """
        await self._wait_for_outage_end()
        if self._spent >= ATTEMPT_COST * self._options.tries:
            self._raise_exhausted(error)
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
            await self._breaker.wait_until_closed()
            await self._limiter.acquire(urgent=self.faults + self._delays > 0)
            if not self._breaker.is_open:
                return
            self._limiter.release()

    def _pause_s(self, error: Transient) -> float:
        """The wait that the server asks for, or an exponential back-off, both with jitter."""
        number = self.faults if isinstance(error, ServerFault) else self._delays
        pause_s = backoff_s(number, self._options.first_pause_s, MAX_PAUSE_S)
        if error.retry_after_s is None:
            return pause_s
        chance = random.random()  # noqa: S311 - jitter needs no cryptographic randomness
        return max(error.retry_after_s * (1 + chance / 10), min(pause_s, 1.0))

    async def _wait_for_outage_end(self) -> None:
        """Wait until the breaker is closed, and forget the failures if there was an outage."""
        if self._breaker.is_open:
            try:
                async with asyncio.timeout(self._left_s):
                    await self._breaker.wait_until_closed()
            except TimeoutError:
                self._give_up(self._breaker.last_error)
        if self._breaker.outages != self._outages:
            self._outages = self._breaker.outages
            self.faults = self._spent = 0

    def _raise_exhausted(self, error: Transient) -> NoReturn:
        if self._only_unreadable:
            raise Poison(f"{error}; the server answered this {self.faults} times") from error
        raise Exhausted(f"{error}; this was attempt {self.faults}, the last one") from error

    def _give_up(self, because: str, pause_s: float = 0.0) -> NoReturn:
        wait_s = max(pause_s, self._limiter.held_s)
        raise Unavailable(
            f"the server accepted no request for {self._options.patience_s:g} s ({because}); the "
            "record waits until it does",
            retry_after_s=min(wait_s, MAX_RETRY_AFTER_S),
        )
