"""An HTTP client with a concurrency limit, retries and a circuit breaker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import orjson
import structlog

from promptmill.inference.http.abilities import HINT, Abilities
from promptmill.inference.http.address import Address
from promptmill.inference.http.breaker import Breaker
from promptmill.inference.http.dialect import NEUTRAL
from promptmill.inference.http.errors import Malformed, NotFound, Refused, Rejected, Withheld
from promptmill.inference.http.limiter import Limiter
from promptmill.inference.http.options import HttpOptions, Server
from promptmill.inference.http.request_retries import RequestRetries
from promptmill.inference.http.transport import Transport
from promptmill.inference.ports import Load, Trouble
from promptmill.inference.thinking import filled_in
from promptmill.runtime.errors import Fatal, Misconfigured, Poison, PromptmillError, Transient
from promptmill.runtime.timing import backoff_s

log = structlog.get_logger(__name__)

Answer = TypeVar("Answer")

MAX_PAUSE_S = 10.0

REFUSALS = 3
"""Consecutive refusals at the start that count as permanent."""

SUSPICIOUS_AT = 3
"""Consecutive rejections of requests after which the server itself is checked."""


class Client:
    """The client of one server, through which all requests to it are sent.

    Args:
        address: the server's endpoints.
        options: the model, limits and time-outs.
        canary: sends a request that a healthy server answers; the limiter does not apply to it.

    Attributes:
        address: the server's endpoints; which of its candidates they are is found at the start.
        abilities: what the server understands, as far as it is known.
    """

    def __init__(
        self, address: Address, options: HttpOptions, canary: Callable[[], Awaitable[object]]
    ) -> None:
        self.address = address
        self.abilities = options.abilities
        self.options = options
        self._further: Mapping[str, Any] = options.extra_body
        self.transport = Transport(address, options)
        self.limiter = Limiter(options.concurrency)
        self._canary = canary
        self.breaker = Breaker(canary, options.first_pause_s)
        self._stack = AsyncExitStack()
        self._rejections = 0
        self._check_at = SUSPICIOUS_AT
        self._checking = asyncio.Lock()

    @property
    def load(self) -> Load:
        """Requests that were sent to the server, and those that wait for the limiter."""
        return Load(self.limiter.in_flight, self.limiter.waiting)

    @property
    def trouble(self) -> Trouble:
        """Why no request succeeds at the moment."""
        return Trouble(self.breaker.cause or "", self.breaker.trouble)

    async def start(self, prepare: Callable[[], Awaitable[object]]) -> None:
        """Open the connection pool, and return when the server has answered the canary.

        Args:
            prepare: fetches what the canary needs; it is repeated with every canary.

        Raises:
            Misconfigured: the server refused the key, the path, the model or the canary three
                times.
            Fatal: the server did not answer within ``start_limit_s``.
        """
        await self._stack.enter_async_context(self.transport)
        self._stack.push_async_callback(self.breaker.close)
        self._stack.callback(self.limiter.close)
        deadline, failures, refusals = self._deadline(), 0, 0
        while True:
            try:
                await self._find_address(prepare)
            except (Refused, Poison, Misconfigured) as error:
                refusals += 1
                if refusals == REFUSALS:
                    raise _misconfigured(error) from None
                await asyncio.sleep(self.options.first_pause_s)
            except Transient as error:
                failures += 1
                pause_s = backoff_s(failures, self.options.first_pause_s, MAX_PAUSE_S)
                await self._await_server(error, deadline, pause_s)
            else:
                return

    async def _find_address(self, prepare: Callable[[], Awaitable[object]]) -> None:
        """Send the canary to the candidates of the address, until one of them exists."""
        given, first = self.address, None
        for candidate in given.candidates():
            self.address = candidate
            try:
                await prepare()
                await self._find_abilities()
            except (NotFound, Malformed, Misconfigured) as error:
                first = first or error
            except BaseException:
                self.address = given
                raise
            else:
                return
        self.address = given
        raise first or NotFound(f"{given.api} has no endpoint")

    async def _find_abilities(self) -> None:
        """Send the canary; if it is refused and no field is blamed, try other wordings."""
        known = self.abilities
        try:
            await self._canary()
        except Poison as refusal:
            for self.abilities in known.alternatives():
                if await self._canary_succeeds():
                    self._tell(self.abilities, str(refusal))
                    return
            self.abilities = known
            raise

    async def _canary_succeeds(self) -> bool:
        try:
            await self._canary()
        except Poison:
            return False
        return True

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
        """Close all connections, which aborts the requests in flight."""
        await self._stack.aclose()

    def speak_to(self, server: Server) -> None:
        """Put the fields of the settings into every request, as this kind of server wants them."""
        thinking = self.options.thinking
        asked = {} if thinking is None else thinking.fields(server)
        self._further = filled_in(self.options.extra_body, asked, {})

    async def send(self, url: str, body: dict[str, Any]) -> Any:
        """Send a request as the server understands it, and return its reply.

        A field that the server refuses by its name is changed, and the request is sent again.
        What works is kept for all requests. The errors are those of
        :meth:`~promptmill.inference.http.transport.Transport.post`.
        """
        body = filled_in(body, self._further, NEUTRAL)
        before = abilities = self.abilities
        refusal: Poison | None = None
        while True:
            try:
                reply = await self.transport.post(url, orjson.dumps(abilities.adapt(body)))
            except Withheld:
                raise
            except Poison as error:
                refusal = refusal or error
                learned = abilities.after(str(error), abilities.adapt(body))
                if learned is None:
                    raise refusal from None
                abilities = learned
            else:
                if abilities is not before:
                    self._learn(before, abilities, str(refusal))
                return reply

    def _learn(self, before: Abilities, learned: Abilities, refusal: str) -> None:
        abilities = self.abilities.merged(before, learned)
        if abilities != self.abilities:
            self.abilities = abilities
            self._tell(abilities, refusal)

    def _tell(self, abilities: Abilities, refusal: str) -> None:
        log.warning("dialect_found", dialect=abilities.as_setting(), refused=refusal)

    async def call(
        self,
        url: str,
        body: Callable[[int], dict[str, Any]],
        read: Callable[[Any], Answer],
        not_found: Callable[[NotFound], Awaitable[Poison | None]] | None = None,
    ) -> Answer:
        """Send a request, retry it as needed, and return its answer.

        Args:
            url: the endpoint.
            body: returns the request body for a number of failed attempts.
            read: converts the parsed JSON to an answer; may raise ``Malformed``.
            not_found: called after a 404 for a request that names its own model. It returns an
                error if that model is missing, and ``None`` if the server itself is at fault.

        Raises:
            Unavailable: the server was busy or unreachable for ``patience_s``.
            Transient: the server failed this request until ``patience_s`` had passed.
            Poison: the server rejected the request, or its answers could not be read.
            Exhausted: the request used up its retry budget.
            Fatal: the server permanently refuses the requests of this process.
        """
        retries = RequestRetries(self.limiter, self.breaker, self.options)
        failure: Transient
        while True:
            await retries.acquire_slot()
            try:
                reply = await self.send(url, body(retries.faults))
                self._rejections, self._check_at = 0, SUSPICIOUS_AT
                answer = read(reply)
                retries.answered()
                return answer  # noqa: TRY300 - the slot is released after the answer is read
            except Rejected as error:
                if (fault := await self._fault_behind(error)) is None:
                    retries.answered()
                    raise Poison(str(error)) from error
                failure, pause_s = fault, retries.failed(fault)
            except Poison:
                retries.answered()
                raise
            except Transient as error:
                if isinstance(error, NotFound) and not_found and (own := await not_found(error)):
                    retries.answered()
                    raise own from error
                failure, pause_s = error, retries.failed(error)
            finally:
                self.limiter.release()
            await retries.pause(failure, pause_s)

    async def _fault_behind(self, error: Rejected) -> Refused | None:
        """The error if the server rejects even the canary; ``None`` if the request is at fault.

        Only rejections in a row arouse suspicion, and the more of them turn out to be right, the
        more are needed for the next check.
        """
        self._rejections += 1
        if self._rejections < self._check_at:
            return None
        async with self._checking:
            if self.breaker.is_open:
                return Refused(str(error))
            if self._rejections < self._check_at:
                return None
            try:
                await self._canary()
            except PromptmillError as fault:
                return Refused(f"{error}; the server refuses a simple request, too: {fault}")
            self._check_at *= 2
            return None


def _misconfigured(error: PromptmillError) -> Misconfigured:
    if isinstance(error, Misconfigured):
        return error
    text = f"the server refuses the first request: {error}"
    return Misconfigured(f"{text}; {HINT}" if isinstance(error, Poison) else text)
