"""Requests that get their answer, or say truly why not: in turn, in time, and tried again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import structlog

from promptmill.inference.http.address import Address
from promptmill.inference.http.breaker import REFUSALS, Breaker
from promptmill.inference.http.errors import NotFound, Refused
from promptmill.inference.http.limiter import Limiter
from promptmill.inference.http.options import HttpOptions
from promptmill.inference.http.request_course import Course
from promptmill.inference.http.transport import Transport
from promptmill.inference.ports import Load
from promptmill.runtime.errors import Fatal, Misconfigured, Poison, PromptmillError, Transient
from promptmill.runtime.timing import backoff_s

log = structlog.get_logger(__name__)

Answer = TypeVar("Answer")

LONGEST_PAUSE_S = 10.0


class Client:
    """One server and all requests to it.

    Args:
        canary: a request that the server answers when all is well; it is sent past the turnstile.
    """

    def __init__(
        self, address: Address, options: HttpOptions, canary: Callable[[], Awaitable[object]]
    ) -> None:
        self.address = address
        self.options = options
        self.transport = Transport(address, options)
        self.limiter = Limiter(options.concurrency)
        self._canary = canary
        self.breaker = Breaker(canary, options.first_pause_s)
        self._stack = AsyncExitStack()

    @property
    def load(self) -> Load:
        """Requests at the server, and those that wait for a slot there."""
        return Load(self.limiter.in_flight, self.limiter.waiting)

    async def start(self, prepare: Callable[[], Awaitable[object]]) -> None:
        """Open the pool; returns when the server has answered the canary.

        Args:
            prepare: what has to be known before the canary; asked again with it.

        Raises:
            Misconfigured: the server refuses the key, the path, the model or the canary, three
                times in a row.
            Fatal: it did not answer within the limit.
        """
        await self._stack.enter_async_context(self.transport)
        self._stack.push_async_callback(self.breaker.close)
        self._stack.callback(self.limiter.close)
        deadline, failures, refusals = self._deadline(), 0, 0
        while True:
            try:
                await prepare()
                await self._canary()
            except (Refused, Poison, Misconfigured) as error:
                refusals += 1
                if refusals == REFUSALS:
                    raise _misconfigured(error) from None
                await asyncio.sleep(self.options.first_pause_s)
            except Transient as error:
                failures += 1
                pause_s = backoff_s(failures, self.options.first_pause_s, LONGEST_PAUSE_S)
                await self._await_server(error, deadline, pause_s)
            else:
                return

    def _deadline(self) -> float:
        return time.monotonic() + self.options.start_limit_s

    async def _await_server(self, error: Transient, deadline: float, pause_s: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise Fatal(
                f"{self.address.api} did not answer within {self.options.start_limit_s:g} s; the "
                f"last error: {error}; start the server, correct --base-url, or raise "
                "--start-limit-s"
            ) from None
        log.warning("server_not_ready", error=str(error), gives_up_in_s=round(left))
        await asyncio.sleep(min(max(pause_s, error.retry_after_s or 0.0), left))

    async def close(self) -> None:
        """Close all connections; the server drops what they carried."""
        await self._stack.aclose()

    async def call(
        self,
        url: str,
        body: Callable[[int], bytes],
        read: Callable[[Any], Answer],
        not_found: Callable[[NotFound], Awaitable[Poison | None]] | None = None,
    ) -> Answer:
        """The answer to one request.

        Args:
            body: what to send, by the number of tries that failed before.
            read: makes the answer of the parsed JSON; raises ``Malformed``.
            not_found: for a request that names a model of its own: whether that one is missing,
                and not the server's path.

        Raises:
            Unavailable: the server is busy or away for longer than the patience lasts.
            Transient: the server failed this request until the patience was over.
            Poison: the server says that the request is wrong, or its answers cannot be read.
            Exhausted: the server failed this request as often as it may.
            Fatal: the server takes no requests of this process any more.
        """
        course = Course(self.limiter, self.breaker, self.options)
        while True:
            await course.turn()
            try:
                answer = read(await self.transport.post(url, body(course.faults)))
                course.answered()
                return answer  # noqa: TRY300 - the slot is given back after it is read
            except Poison:
                course.answered()
                raise
            except Transient as error:
                if isinstance(error, NotFound) and not_found and (own := await not_found(error)):
                    course.answered()
                    raise own from error
                failure, pause_s = error, course.failed(error)
            finally:
                self.limiter.release()
            await course.pause(failure, pause_s)


def _misconfigured(error: PromptmillError) -> Misconfigured:
    if isinstance(error, Misconfigured):
        return error
    return Misconfigured(f"the server refuses the first request: {error}")
