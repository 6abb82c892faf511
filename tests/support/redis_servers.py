"""Redis servers of a test's own: with users, replicas, Sentinel, or behind TLS."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from promptmill.devstack.ports import LOOPBACK, free_port
from promptmill.devstack.redis import find_binary
from promptmill.runtime.redis_client import acl_line
from support.waiting import eventually_now

USER: Final = "mill"
PASSWORD: Final = "planted-password-of-mill"  # noqa: S105 - of a test's server
WATCHER: Final = "watcher"
WATCHER_PASSWORD: Final = "planted-password-of-watcher"  # noqa: S105
_ADMIN_PASSWORD: Final = "planted-password-of-admin"  # noqa: S105
_ADMIN: Final = f"user default on >{_ADMIN_PASSWORD} ~* &* +@all"
_SENTINEL_RIGHTS: Final = "-@all +auth +hello +client|setinfo +ping +sentinel|masters"
"""What a client needs that asks Sentinel for the primary; ``docs/security.md`` names it."""


@dataclass(frozen=True, slots=True)
class OwnRedis:
    """A running server.

    Attributes:
        port: on loopback.
        process: to be killed.
    """

    port: int
    process: subprocess.Popen[bytes]

    def client(self) -> redis.Redis:
        """A client of the user who may do everything."""
        never = Retry(NoBackoff(), retries=0)
        return redis.Redis(LOOPBACK, self.port, password=_ADMIN_PASSWORD, retry=never)

    def info(self, section: str) -> dict[str, Any]:
        """What the server says of itself."""
        with self.client() as client:
            found: dict[str, Any] = client.info(section)
            return found


@contextmanager
def own_redis(folder: Path, *lines: str, sentinel: bool = False) -> Iterator[OwnRedis]:
    """A server with these lines in its configuration, killed at the end.

    Args:
        folder: of its configuration and data; must not exist.
        sentinel: whether it is a Sentinel.
    """
    folder.mkdir(parents=True)
    port = free_port()
    file = folder / "redis.conf"
    common = (f"bind {LOOPBACK}", f"port {port}", f"dir {folder}", "set-proc-title no")
    users = () if sentinel else (_ADMIN, f"masterauth {_ADMIN_PASSWORD}", acl_line(USER, PASSWORD))
    file.write_text("\n".join((*common, *users, *lines)) + "\n")
    command = [str(find_binary().path), str(file), *(["--sentinel"] if sentinel else [])]
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    server = OwnRedis(port, process)
    try:
        eventually_now(lambda: _answers(server))
        yield server
    finally:
        process.kill()
        process.wait()


def _answers(server: OwnRedis) -> bool:
    with suppress(redis.RedisError), server.client() as client:
        try:
            return bool(client.ping())
        except redis.AuthenticationError:
            return True
    return False


@dataclass(frozen=True, slots=True)
class Watched:
    """A primary with a replica, and the Sentinels that watch them."""

    primary: OwnRedis
    replica: OwnRedis
    sentinels: tuple[OwnRedis, ...]

    @property
    def url(self) -> str:
        """The URL of promptmill's user."""
        places = ",".join(f"{LOOPBACK}:{sentinel.port}" for sentinel in self.sentinels)
        login = f"sentinel_username={WATCHER}&sentinel_password={WATCHER_PASSWORD}"
        return f"redis+sentinel://{USER}:{PASSWORD}@{places}/main/0?{login}"

    def fail_over(self) -> None:
        """Kill the primary, and wait until the replica is promoted."""
        self.primary.process.kill()
        eventually_now(self._is_promoted)

    def _is_promoted(self) -> bool:
        with suppress(redis.RedisError):  # a promoted server closes its clients' connections
            return bool(self.replica.info("replication")["role"] == "master")
        return False


@contextmanager
def watched_redis(folder: Path, sentinels: int = 3) -> Iterator[Watched]:
    """A primary and a replica that take over from each other; Sentinel asks for a login."""
    with ExitStack() as stack:
        primary = stack.enter_context(own_redis(folder / "primary", "appendonly yes"))
        follow = f"replicaof {LOOPBACK} {primary.port}"
        replica = stack.enter_context(own_redis(folder / "replica", "appendonly yes", follow))
        eventually_now(lambda: replica.info("replication")["master_link_status"] == "up")
        quorum = sentinels // 2 + 1
        lines = (
            f"sentinel monitor main {LOOPBACK} {primary.port} {quorum}",
            f"sentinel auth-pass main {_ADMIN_PASSWORD}",
            "sentinel down-after-milliseconds main 1000",
            "sentinel failover-timeout main 10000",
            f"sentinel sentinel-pass {_ADMIN_PASSWORD}",
            _ADMIN,
            f"user {WATCHER} on >{WATCHER_PASSWORD} resetchannels {_SENTINEL_RIGHTS}",
        )
        watchers = tuple(
            stack.enter_context(own_redis(folder / f"sentinel-{n}", *lines, sentinel=True))
            for n in range(sentinels)
        )
        eventually_now(lambda: all(_knows_all(each, sentinels) for each in watchers))
        yield Watched(primary, replica, watchers)


def _knows_all(sentinel: OwnRedis, sentinels: int) -> bool:
    with sentinel.client() as client:
        state = client.sentinel_masters()["main"]
    return int(state["num-slaves"]) == 1 and int(state["num-other-sentinels"]) == sentinels - 1


@asynccontextmanager
async def behind_tls(port: int, context: ssl.SSLContext) -> AsyncIterator[int]:
    """A port that speaks TLS and passes everything on to the server of the given port.

    The Redis that comes as a package is built without TLS.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(LOOPBACK, port)
        await asyncio.gather(_pump(reader, to_server), _pump(from_server, writer))

    async with await asyncio.start_server(serve, LOOPBACK, 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while received := await reader.read(65_536):
            writer.write(received)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
