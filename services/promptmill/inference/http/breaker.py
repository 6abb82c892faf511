"""A circuit breaker that uses the canary to distinguish an outage from faulty requests.

A request that fails may itself be the cause. After several consecutive failures, of whichever
requests, the breaker opens, and only the canary is sent: the request that succeeded at the start.
If it succeeds, the server is healthy, the breaker closes, and the failures count. If it fails,
there is an outage: all requests wait until the canary succeeds, and the failures of this time do
not count.

The breaker counts only failures that concern the server: no connection, status 5xx, time-outs,
malformed responses, a refused key and a used-up quota. A complete answer with unusable content
shows that the server is healthy.

A quota that is used up, a key that was revoked and a model that is gone are outages too, since no
record is at fault: the canary is sent with growing pauses until the cause is removed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from promptmill.inference.http.errors import (
    Cause,
    OutOfQuota,
    Refused,
    ServerBusy,
    cause_of,
    trouble_of,
)
from promptmill.runtime.errors import Fatal, PromptmillError
from promptmill.runtime.timing import backoff_s

log = structlog.get_logger(__name__)

OPEN_AFTER = 10
"""Consecutive failures that open the breaker.

If 3 of 10 requests fail at random, 10 consecutive failures have a probability of 1 in 170,000.
"""

MAX_PAUSE_S = 30.0
MAX_BLOCKED_PAUSE_S = 300.0
"""Longest pause between two canaries while the quota, the key or the model is the cause."""

PROBE_TIMEOUT_S = 60.0


class Breaker:
    """A circuit breaker: closed while requests succeed, open after consecutive failures.

    Args:
        canary: sends a request that a healthy server answers.
        first_pause_s: pause between the first two canaries, in seconds; it doubles each time.

    Attributes:
        outages: how many outages there have been; a failure does not count if this has changed.
        last_error: the message of the last failure.
        cause: why no request succeeds; ``None`` while there is no outage.
        trouble: the same in words; empty while there is no outage.
    """

    def __init__(self, canary: Callable[[], Awaitable[object]], first_pause_s: float) -> None:
        self._canary = canary
        self._first_pause_s = first_pause_s
        self._closed = asyncio.Event()
        self._closed.set()
        self._failures = 0
        self._fatal: Fatal | None = None
        self._probing: asyncio.Task[None] | None = None
        self.outages = 0
        self.last_error = ""
        self.cause: Cause | None = None
        self.trouble = ""

    @property
    def is_open(self) -> bool:
        """Whether requests have to wait."""
        return not self._closed.is_set()

    async def wait_until_closed(self) -> None:
        """Return when requests may be sent.

        Raises:
            Fatal: the canary failed for a reason that only a new process can remove.
        """
        if self.is_open:
            await self._closed.wait()
        if self._fatal is not None:
            raise self._fatal

    def succeeded(self) -> None:
        """Record a success, which proves that there is no outage."""
        self._failures = 0
        if self.is_open and self._fatal is None:
            self._close("success")

    def failed(self, error: PromptmillError) -> None:
        """Record a failure."""
        self._failures += 1
        if self._failures >= OPEN_AFTER or isinstance(error, Refused | OutOfQuota):
            self._open(error)

    async def close(self) -> None:
        """Stop sending canaries."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)

    def _open(self, error: PromptmillError) -> None:
        if self.is_open:
            return
        self._closed.clear()
        self.last_error = str(error)
        self._probing = asyncio.create_task(self._probe())

    def _close(self, because: str) -> None:
        self._failures = 0
        self.cause, self.trouble = None, ""
        self._closed.set()
        if self._probing is not None and self._probing is not asyncio.current_task():
            self._probing.cancel()
        log.info("breaker_closed", because=because)

    async def _probe(self) -> None:
        """Send canaries until one succeeds."""
        failures = 0
        while (error := await self._ask()) is not None:
            failures += 1
            if failures == 1:
                self.outages += 1
                log.warning("breaker_open", error=self.last_error, canary=str(error))
            self._describe(error)
            if isinstance(error, Fatal):
                self._fatal = error
                self._closed.set()
                return
            await asyncio.sleep(self._pause_s(failures, error))
        self._close("canary")

    def _describe(self, error: PromptmillError) -> None:
        """Keep the cause; one that waiting does not remove is logged once."""
        self.last_error = str(error)
        cause, before = cause_of(error), self.cause
        self.cause, self.trouble = cause, trouble_of(error)
        if cause not in {before, "server"}:
            log.error("model_server_blocked", cause=cause, error=str(error))

    def _pause_s(self, failures: int, error: PromptmillError) -> float:
        limit_s = MAX_PAUSE_S if self.cause == "server" else MAX_BLOCKED_PAUSE_S
        asked_s = error.retry_after_s if isinstance(error, ServerBusy) else None
        return max(backoff_s(failures, self._first_pause_s, limit_s), min(asked_s or 0.0, limit_s))

    async def _ask(self) -> PromptmillError | None:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                await self._canary()
        except TimeoutError:
            return PromptmillError(
                f"the canary request was not answered within {PROBE_TIMEOUT_S:.0f} s"
            )
        except PromptmillError as error:
            return error
        except Exception as error:  # without another canary, all requests would wait indefinitely
            log.exception("canary_failed")
            return PromptmillError(f"the canary request failed: {error!r}")
        return None
