"""The board in Redis: the elected lag reader writes the lags there, and all workers read them.

Scripts change the lease, the term and the board, and use the clock of Redis. A term is a fencing
token: lags from the reader of an older term are refused, however late they arrive.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final, TypeVar

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from promptmill.flow.lags import Lags, decode_lags
from promptmill.flow.reports import REPORT_STANDS_S
from promptmill.runtime.errors import Unavailable
from promptmill.runtime.redis_client import absence, connect

log = structlog.get_logger(__name__)

T = TypeVar("T")

_SCRIPT: Final = files(__package__).joinpath("board.lua").read_text()


@dataclass(frozen=True, slots=True)
class FlowKeys:
    """The keys of one pipeline in Redis; they have the same prefix as its topics."""

    prefix: str

    def _key(self, name: str) -> str:
        return f"promptmill:{{{self.prefix}flow}}:{name}"

    @property
    def lease(self) -> str:
        """The key of the lease of the lag reader."""
        return self._key("lease")

    @property
    def term(self) -> str:
        """The key of the latest term."""
        return self._key("term")

    @property
    def lags(self) -> str:
        """The key of the lags."""
        return self._key("lags")

    @property
    def reports(self) -> str:
        """The key of the workers' reports."""
        return self._key("reports")

    @property
    def publishers(self) -> str:
        """The key of the publishers that have prompts to send."""
        return self._key("publishers")

    @property
    def held_publishers(self) -> str:
        """The key of the publishers that wait for room."""
        return self._key("held_publishers")

    @property
    def waits(self) -> str:
        """The key of the milliseconds that publishers have waited, by run."""
        return self._key("waits")


async def answer_of(call: Awaitable[T], what: str) -> T:
    """Return the answer of Redis to a call.

    Raises:
        Unavailable: Redis does not answer.
    """
    try:
        return await call
    except (RedisError, OSError, TimeoutError) as error:
        raise Unavailable(f"Redis cannot be asked for {what}: {absence(error)}") from error


@dataclass(frozen=True, slots=True)
class Waits:
    """The waits of a run's publishers.

    Attributes:
        held: how many of them wait for room now.
        waited_s: seconds that all of them have waited; deleted a week after the last wait.
    """

    held: int
    waited_s: float


class LagBoard:
    """A reader of the board.

    Args:
        redis_url: ``redis://[user:password@]host:port/db``, ``rediss://`` or ``unix://``.
        prefix: the prefix of every topic's name.
    """

    def __init__(self, redis_url: str, prefix: str = "") -> None:
        self._redis = connect(redis_url)
        self._keys = FlowKeys(prefix)

    async def read(self) -> Lags | None:
        """Return the latest lags with their age, or ``None`` if there are none.

        Raises:
            Unavailable: Redis does not answer.
        """
        found = await answer_of(self._read(), "the lags")
        return _lags(*found)

    async def _read(self) -> tuple[list[Any], int]:
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.hmget(self._keys.lags, ["term", "at_ms", "lags"])
            pipe.time()
            fields, (seconds, micros) = await pipe.execute()
        return fields, seconds * 1000 + micros // 1000

    async def waits(self) -> dict[str, Waits]:
        """Return how many publishers of each run wait for room, and for how long in total.

        Raises:
            Unavailable: Redis does not answer.
        """
        members, waited_ms, (seconds, _) = await answer_of(self._read_waits(), "the publishers")
        held = Counter(
            bytes(member).decode().partition(" ")[0]
            for member, until_ms in members
            if until_ms > seconds * 1000
        )
        waited_s = {bytes(run).decode(): int(ms) / 1000 for run, ms in waited_ms.items()}
        runs = held.keys() | waited_s.keys()
        return {run: Waits(held[run], waited_s.get(run, 0.0)) for run in sorted(runs)}

    async def _read_waits(self) -> tuple[list[Any], dict[bytes, bytes], tuple[int, int]]:
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.zrange(self._keys.held_publishers, 0, -1, withscores=True)
            pipe.hgetall(self._keys.waits)
            pipe.time()
            members, waited_ms, now = await pipe.execute()
        return members, waited_ms, now

    async def close(self) -> None:
        """Disconnect."""
        await self._redis.aclose()


def _lags(fields: Sequence[Any], now_ms: int) -> Lags | None:
    term, at_ms, payload = fields
    if term is None or at_ms is None or payload is None:
        return None
    try:
        return decode_lags(int(term), int(at_ms) / 1000, now_ms / 1000, payload)
    except ValueError as error:  # a newer version or another program has written it
        log.warning("lags_unreadable", error=str(error))
        return None


@dataclass(frozen=True, slots=True)
class Turn:
    """The answer of Redis to a candidate.

    Attributes:
        term: the term of this worker; 0 while another worker is elected.
        now_ms: the time of Redis' clock.
        lags: the lags on the board; ``None`` if there are none.
        held_publishers: number of publishers that wait for room on the topic of prompts.
        waited_s: seconds that all publishers have waited.
    """

    term: int
    now_ms: int
    lags: Lags | None = None
    held_publishers: int = 0
    waited_s: float = 0.0

    @property
    def is_elected(self) -> bool:
        """Whether this worker is the lag reader."""
        return self.term > 0


class Election:
    """A candidate in the election of the lag reader.

    Args:
        identity: the id of this worker, which no other live worker has.
        lease_s: seconds after which a lease ends that is not renewed.
        keep_s: seconds for which the lags stay on the board.
    """

    def __init__(
        self, redis: Redis, keys: FlowKeys, identity: str, *, lease_s: float, keep_s: float
    ) -> None:
        self._keys = keys
        self._identity = identity
        self._lease_ms = int(lease_s * 1000)
        self._keep_ms = int(keep_s * 1000)
        self._script = redis.register_script(_SCRIPT)

    async def turn(self, report: bytes = b"", *, can_measure: bool = True) -> Turn:
        """Report, take or renew the lease if possible, and read the lags.

        Args:
            report: the report of this worker.
            can_measure: whether this worker stands for election.

        Raises:
            Unavailable: Redis does not answer.
        """
        answer = await self._call("turn", report, int(can_measure))
        own, now_ms, held_publishers, waited_ms = (int(number) for number in answer[:4])
        lags = _lags([*answer[4:], None, None, None][:3], now_ms)
        return Turn(own, now_ms, lags, held_publishers, waited_ms / 1000)

    async def reports(self) -> list[bytes]:
        """Return the latest reports of the live workers.

        Raises:
            Unavailable: Redis does not answer.
        """
        return await self._call("reports", int(REPORT_STANDS_S * 1000))

    async def publish(self, turn: Turn, payload: bytes) -> bool:
        """Put the lags on the board; return ``False`` if another term has begun in the meantime.

        Raises:
            Unavailable: Redis does not answer.
        """
        (written,) = await self._call("publish", turn.term, turn.now_ms, payload)
        return bool(written)

    async def resign(self) -> None:
        """Give up the lease, if this worker holds it, and delete this worker's report.

        Raises:
            Unavailable: Redis does not answer.
        """
        await self._call("resign")

    async def _call(self, action: str, *arguments: int | bytes) -> list[Any]:
        names = self._keys
        keys = [names.lease, names.term, names.lags, names.reports]
        keys += [names.held_publishers, names.waits]
        limits = (self._identity, self._lease_ms, self._keep_ms)
        call = self._script(keys=keys, args=[action, *limits, *arguments])
        answer: list[Any] = await answer_of(call, "the lease of the reader of lags")
        return answer
