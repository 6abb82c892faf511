"""The flight log of a consumer group in Redis or Valkey, with one hash for each partition."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any, Final, NamedTuple

import structlog
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from promptmill.runtime.redis_client import connect
from promptmill.stream.in_flight import NO_DEATHS, Deaths
from promptmill.stream.ports import Partition

log = structlog.get_logger(__name__)

EXPIRES_S: Final = 7 * 24 * 3600
"""The seconds for which the entries of a partition are kept after its last record began."""

BATCH: Final = 512
"""The number of operations in one call, which takes the server about a millisecond."""

_SCRIPT: Final = files(__package__).joinpath("flights.lua").read_text()


class _Operation(NamedTuple):
    code: str
    partition: Partition
    offset: int
    answer: asyncio.Future[Deaths] | None = None


class RedisFlightLog:
    """The flight log of one worker process.

    Notes that arrive during a call are sent together with the next one, so a batch of records
    costs one round trip. After a failure of Redis, the log is disabled for ``retry_s`` seconds:
    records begin without known deaths, and nothing waits for Redis.

    Args:
        url: ``redis://[user:password@]host:port/db``, ``rediss://`` or ``unix://``.
        group: the consumer group.
        failed: called once for each failure, to count it.
        timeout_s: seconds to wait for a response of the server.
        retry_s: seconds for which the log is disabled after a failure.
    """

    def __init__(
        self,
        url: str,
        group: str,
        *,
        failed: Callable[[], None] = lambda: None,
        timeout_s: float = 1.0,
        retry_s: float = 5.0,
    ) -> None:
        self._redis = connect(url, timeout_s)
        self._script = self._redis.register_script(_SCRIPT)
        self._group = group
        self._failed = failed
        self._retry_s = retry_s
        self._silent_until = 0.0
        self._life = uuid.uuid4().hex
        self._waiting: deque[_Operation] = deque()
        self._writing: asyncio.Task[None] | None = None

    def _key(self, partition: Partition) -> str:
        return f"promptmill:{{{self._group}}}:flights:{partition}"

    # The port

    async def read(
        self, positions: Mapping[Partition, int]
    ) -> Mapping[Partition, Mapping[int, Deaths]]:
        """See :meth:`FlightLog.read <promptmill.stream.in_flight.FlightLog.read>`."""
        await self.flush()
        known = await self._try(lambda: self._read(positions))
        return known or {}

    async def begin(self, partition: Partition, offset: int, *, alone: bool) -> Deaths:
        """Note that the record is in flight here."""
        answer: asyncio.Future[Deaths] = asyncio.get_running_loop().create_future()
        self._put(_Operation("a" if alone else "b", partition, offset, answer))
        return await answer

    def resume(self, partition: Partition, offset: int) -> None:
        """Note that the record is in flight again."""
        self._put(_Operation("b", partition, offset))

    def end(self, partition: Partition, offset: int) -> None:
        """Note that the record is no longer in flight."""
        self._put(_Operation("e", partition, offset))

    async def flush(self) -> None:
        """Return when all notes are written or have failed."""
        if self._writing is not None:
            await asyncio.wait([self._writing])

    async def stop(self) -> None:
        """Flush and disconnect."""
        await self.flush()
        await self._redis.aclose()

    # Writing

    def _put(self, operation: _Operation) -> None:
        self._waiting.append(operation)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all(), name="flight-log")

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                count = min(BATCH, len(self._waiting))
                batch = [self._waiting.popleft() for _ in range(count)]
                found = await self._try(lambda batch=batch: self._write(batch))  # type: ignore[misc]
                _answer(batch, found or [NO_DEATHS] * count)
        finally:
            self._writing = None

    async def _write(self, batch: Sequence[_Operation]) -> list[Deaths]:
        keys = {partition: n for n, partition in enumerate({op.partition: 0 for op in batch}, 1)}
        arguments: list[Any] = [self._life, EXPIRES_S]
        for operation in batch:
            arguments += (operation.code, keys[operation.partition], operation.offset)
        reply = await self._script(keys=[self._key(p) for p in keys], args=arguments)
        return [Deaths(*pair) for pair in zip(reply[::2], reply[1::2], strict=True)]

    async def _read(self, positions: Mapping[Partition, int]) -> dict[Partition, dict[int, Deaths]]:
        known: dict[Partition, dict[int, Deaths]] = {}
        for partition, position in positions.items():
            entries: dict[bytes, bytes] = await self._hash(partition)
            if done := [offset for offset in entries if int(offset) < position]:
                await self._redis.hdel(self._key(partition), *done)
            seen = {int(o): self._seen(v) for o, v in entries.items() if int(o) >= position}
            known[partition] = {offset: deaths for offset, deaths in seen.items() if deaths.total}
        return known

    async def _hash(self, partition: Partition) -> Any:
        return await self._redis.hgetall(self._key(partition))

    def _seen(self, entry: bytes) -> Deaths:
        """Return the deaths of an entry, including the one that the next ``begin`` will count."""
        total, alone, begun, life = entry.decode().split(" ")
        if life in ("", self._life):
            return Deaths(int(total), int(alone))
        return Deaths(int(total) + 1, int(alone) + 1 if begun == "a" else 0)

    async def _try(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Return the result of the call, or ``None`` if Redis fails or the log is disabled."""
        if time.monotonic() < self._silent_until:
            return None
        try:
            try:
                return await call()
            except RedisConnectionError:  # the server closes idle connections, so use a new one
                return await call()
        except (RedisError, OSError, ValueError) as error:
            self._failed()
            log.warning("flight_log_unavailable", error=repr(error), again_in_s=self._retry_s)
            self._silent_until = time.monotonic() + self._retry_s
            return None


def _answer(batch: Sequence[_Operation], found: Sequence[Deaths]) -> None:
    for operation, deaths in zip(batch, found, strict=True):
        if operation.answer is not None and not operation.answer.done():
            operation.answer.set_result(deaths)
