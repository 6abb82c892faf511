"""The board in Redis: the elected reader writes the lags there, everybody reads them.

The lease, the term and the board are changed by scripts, by Redis' own clock. A term is a fencing
token: what the reader of an older term writes is refused, however late it arrives.
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
    """The keys of one pipeline in Redis; the prefix is the topics' own."""

    prefix: str

    def _key(self, name: str) -> str:
        return f"promptmill:{{{self.prefix}flow}}:{name}"

    @property
    def lease(self) -> str:
        """Who measures, until when."""
        return self._key("lease")

    @property
    def term(self) -> str:
        """The latest term."""
        return self._key("term")

    @property
    def lags(self) -> str:
        """The figures."""
        return self._key("lags")

    @property
    def reports(self) -> str:
        """What workers say about themselves."""
        return self._key("reports")

    @property
    def publishers(self) -> str:
        """Publishers that want to send."""
        return self._key("publishers")

    @property
    def held_publishers(self) -> str:
        """Those of them that wait for room."""
        return self._key("held_publishers")

    @property
    def waits(self) -> str:
        """Milliseconds that publishers have waited, by run."""
        return self._key("waits")


async def answer_of(call: Awaitable[T], what: str) -> T:
    """The answer of Redis.

    Raises:
        Unavailable: there is none.
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
        waited_s: for how long, all of them together; forgotten a week after the last wait.
    """

    held: int
    waited_s: float


class LagBoard:
    """Reads the figures.

    Args:
        redis_url: ``redis://[user:password@]host:port/db``, ``rediss://`` or ``unix://``.
        prefix: before every topic's name.
    """

    def __init__(self, redis_url: str, prefix: str = "") -> None:
        self._redis = connect(redis_url)
        self._keys = FlowKeys(prefix)

    async def read(self) -> Lags | None:
        """The latest figures, with their age; ``None`` when there are none that still count.

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
        """How long the publishers of each run have waited for room, and how many wait now.

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
    except ValueError as error:  # a newer version, or a stranger, has written it
        log.warning("lags_unreadable", error=str(error))
        return None


@dataclass(frozen=True, slots=True)
class Turn:
    """The answer to a candidate.

    Attributes:
        term: its own, 0 while another worker measures.
        now_ms: by Redis' clock.
        lags: the figures on the board; ``None`` when there are none.
        held_publishers: how many wait for room on the topic of prompts.
        waited_s: for how long publishers have waited, all of them together.
    """

    term: int
    now_ms: int
    lags: Lags | None = None
    held_publishers: int = 0
    waited_s: float = 0.0

    @property
    def is_elected(self) -> bool:
        """Whether this worker measures."""
        return self.term > 0


class Election:
    """One candidate for the reader of lags.

    Args:
        identity: of this worker; no other live worker has it.
        lease_s: how long a holder is believed that does not renew.
        keep_s: how long the figures stand.
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
        """Report, take the lease if it is free, renew it if it is ours, and read the figures.

        Args:
            report: of this worker.
            can_measure: whether it stands for election.

        Raises:
            Unavailable: Redis does not answer.
        """
        answer = await self._call("turn", report, int(can_measure))
        own, now_ms, held_publishers, waited_ms = (int(number) for number in answer[:4])
        lags = _lags([*answer[4:], None, None, None][:3], now_ms)
        return Turn(own, now_ms, lags, held_publishers, waited_ms / 1000)

    async def reports(self) -> list[bytes]:
        """What the workers that are alive have reported last.

        Raises:
            Unavailable: Redis does not answer.
        """
        return await self._call("reports", int(REPORT_STANDS_S * 1000))

    async def publish(self, turn: Turn, payload: bytes) -> bool:
        """Put the figures on the board; ``False`` when another term has begun meanwhile.

        Raises:
            Unavailable: Redis does not answer.
        """
        (written,) = await self._call("publish", turn.term, turn.now_ms, payload)
        return bool(written)

    async def resign(self) -> None:
        """Give the lease back, if it is ours, and take the report away.

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
