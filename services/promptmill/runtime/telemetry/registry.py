"""The registry of live workers in Redis, with one expiring key for each worker.

It serves ``promptmill status`` and the publisher's check of the model's context length. Nothing
else depends on it: without Redis, workers only log a warning.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, fields
from typing import Self

import orjson
import structlog
from redis.exceptions import RedisError

from promptmill.runtime.errors import Unavailable
from promptmill.runtime.redis_client import connect

log = structlog.get_logger(__name__)

INTERVAL_S = 2.0
TIMEOUT_S = 2.0
EXPIRES_S = 10

_PROCESS = secrets.token_hex(3)
"""Containers that share the network of their host share its name, and all have process 1."""


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """The registry's entry of one worker process.

    Attributes:
        stage: ``instruct``, ``reward``, ``filter`` or ``store``.
        id: what :func:`worker_id` returns.
        in_flight: the number of records in flight.
        done: the number of records finished since the start.
        rate: records finished per second.
        ready: whether the readiness probe succeeds.
        model: the name of its model; empty if it has none.
        context_tokens: the context length of its model in tokens; 0 if it has none.
        tokenizer: the folder of its tokenizer on its host.
        url: the URL of its health endpoint.
        schema_version: the latest version of the contracts that it reads; 0 if unknown.
        held: the reason why backpressure holds it; empty if it does not.
        partitions: the number of its partitions; -1 if unknown.
        trouble: the reason why it cannot complete any record; empty if it can.
    """

    stage: str
    id: str
    in_flight: int = 0
    done: int = 0
    rate: float = 0.0
    ready: bool = False
    model: str = ""
    context_tokens: int = 0
    tokenizer: str = ""
    url: str = ""
    schema_version: int = 0
    held: str = ""
    partitions: int = -1
    trouble: str = ""

    @property
    def is_idle(self) -> bool:
        """Whether it has joined its group without a partition, so that it receives nothing."""
        return self.ready and self.partitions == 0


def worker_id(stage: str) -> str:
    """Return the id of this process: no other live worker has it, and it ends with the PID."""
    return f"{stage}-{socket.gethostname()}-{_PROCESS}-{os.getpid()}"


def registry_key(prefix: str, identity: str) -> str:
    """Return the key of one worker; the prefix is that of the topics."""
    return f"promptmill:{prefix}worker:{identity}"


def layout_key(prefix: str) -> str:
    """Return the key of the data set's layout; the prefix is that of the topics."""
    return f"promptmill:{prefix}layout"


async def write_layout(redis_url: str, prefix: str, partitions: int) -> None:
    """Publish the layout for workers that cannot read the store's tables."""
    redis = connect(redis_url, TIMEOUT_S, tries_again=True)
    try:
        await redis.set(layout_key(prefix), partitions)
    except (RedisError, OSError) as error:
        log.warning("layout_not_written", error=repr(error))
    finally:
        await redis.aclose()


async def read_layout(redis_url: str, prefix: str) -> int | None:
    """Return the number of partitions of the layout; ``None`` if no store has published it.

    Raises:
        Unavailable: Redis does not answer.
    """
    redis = connect(redis_url, TIMEOUT_S, tries_again=True)
    try:
        value = await redis.get(layout_key(prefix))
    except (RedisError, OSError) as error:
        raise Unavailable(f"the partition layout cannot be read from Redis: {error!r}") from error
    finally:
        await redis.aclose()
    return int(value) if value is not None and value.isdigit() and int(value) > 0 else None


class Registration:
    """Keeps one worker's entry alive while the context is open."""

    def __init__(
        self, redis_url: str, prefix: str, info: WorkerInfo, refresh: Callable[[], WorkerInfo]
    ) -> None:
        self._redis = connect(redis_url, TIMEOUT_S, tries_again=True)
        self._key = registry_key(prefix, info.id)
        self._refresh = refresh
        self._task: asyncio.Task[None] | None = None
        self._silent = False

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._keep())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._try(self._forget)
        await self._redis.aclose()

    async def _keep(self) -> None:
        while True:
            await self._try(self._write)
            await asyncio.sleep(INTERVAL_S)

    async def _write(self) -> None:
        await self._redis.set(self._key, orjson.dumps(asdict(self._refresh())), ex=EXPIRES_S)

    async def _forget(self) -> None:
        await self._redis.delete(self._key)

    async def _try(self, call: Callable[[], Awaitable[None]]) -> None:
        try:
            await call()
        except (RedisError, OSError) as error:
            if not self._silent:
                log.warning("registry_unavailable", error=repr(error))
            self._silent = True
        else:
            self._silent = False


async def read_workers(redis_url: str, prefix: str = "") -> list[WorkerInfo]:
    """Return the workers that are alive now.

    Raises:
        Unavailable: Redis does not answer.
    """
    redis = connect(redis_url, TIMEOUT_S, tries_again=True)
    try:
        keys = [key async for key in redis.scan_iter(match=registry_key(prefix, "*"), count=500)]
        values = await redis.mget(keys) if keys else []
    except (RedisError, OSError) as error:
        raise Unavailable(f"the registry of workers in Redis is unavailable: {error!r}") from error
    finally:
        await redis.aclose()
    return [info for value in values if value and (info := _entry(value)) is not None]


def _entry(value: bytes | str) -> WorkerInfo | None:
    """Return the worker of an entry; ``None`` if this version cannot read it.

    During an upgrade, workers of other versions are in the registry too.
    """
    try:
        given = orjson.loads(value)
        known = {each.name: given[each.name] for each in fields(WorkerInfo) if each.name in given}
        info = WorkerInfo(**known)
        wrong = [name for name, found in known.items() if not _is_like(found, name)]
    except (ValueError, TypeError) as error:
        log.info("registry_entry_unreadable", error=repr(error))
        return None
    if wrong:
        log.info("registry_entry_unreadable", fields=wrong)
        return None
    return info


def _is_like(found: object, name: str) -> bool:
    """Return whether the value has the type of the field; an integer is accepted for a float."""
    wanted = type(getattr(_EXAMPLE, name))
    return type(found) is wanted or (wanted is float and type(found) is int)


_EXAMPLE = WorkerInfo(stage="", id="")
