"""One connection to one Redis or Valkey process; the only importer of ``redis`` for claims.

A session never reconnects, so every command reaches the process whose identity was read when the
session began. The next session may reach another process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any, Final, Protocol, Self

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
    NoScriptError,
    RedisError,
    ResponseError,
)

from promptmill.dedup.server_identity import ServerIdentity
from promptmill.runtime.errors import Fatal, Misconfigured, Unavailable
from promptmill.runtime.redis_client import absence, connection_pool, refusal, refuse_cluster

_NOT_NOW: Final = (
    *("READONLY", "OOM", "MISCONF", "BUSY", "LOADING", "NOREPLICAS"),
    *("MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN"),
)
_REMEDIES: Final = {
    "NOREPLICAS": "start its replicas, or lower min-replicas-to-write",
    "OOM": "raise maxmemory or free memory",
    "READONLY": "point PROMPTMILL_REDIS at the primary",
    "MISCONF": "free space on the server's disk",
}
_RETRY_S: Final = 0.5
_READ_BYTES: Final = 2**16


class LuaScript:
    """A Lua script of this package; several files are concatenated."""

    def __init__(self, *names: str) -> None:
        self.source = b"".join(
            files(__package__).joinpath("lua", name).read_bytes() for name in names
        )
        self.digest = sha1(self.source, usedforsecurity=False).hexdigest()


class _Connection(Protocol):
    """The part of redis-py's connection that is used; its own methods are not annotated."""

    async def connect(self) -> None: ...
    async def disconnect(self, nowait: bool = ...) -> None: ...
    async def send_command(self, *args: object) -> None: ...
    async def send_packed_command(self, command: bytes) -> None: ...
    async def read_response(self) -> Any: ...
    @property
    def is_connected(self) -> bool: ...

    _reader: asyncio.StreamReader


class Session:
    """A connection, and the identity of the server.

    Attributes:
        identity: the server's identity when it was last read.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        # Connections through Sentinel have only a weak reference to their pool.
        pool: Any = connection_pool(url, timeout_s, protocol=2)
        self._pool = pool
        self._connection: _Connection = pool.make_connection()
        self._timeout_s = timeout_s
        self._turn = asyncio.Lock()
        self.identity = ServerIdentity("", "", "", 0)

    @classmethod
    async def open(cls, url: str, timeout_s: float) -> Self:
        """Connect, and read the server's identity.

        Raises:
            Misconfigured: the URL or credentials are wrong, or the server is part of a cluster.
            Unavailable: the server does not answer in time.
        """
        session = cls(url, timeout_s)
        try:
            async with asyncio.timeout(2 * timeout_s):
                await session._connection.connect()
        except (RedisError, OSError, TimeoutError) as error:
            raise _away(error) from error
        try:
            await session.identify()
        except BaseException:
            await session.close()
            raise
        return session

    @property
    def is_open(self) -> bool:
        """Whether the connection is open, as far as is known."""
        return self._connection.is_connected

    async def close(self) -> None:
        """Disconnect; the answer to a command in flight is lost."""
        await self._connection.disconnect(nowait=True)

    async def identify(self) -> ServerIdentity:
        """Read the server's present identity.

        Raises:
            Misconfigured: the server is part of a cluster.
        """
        info = await self.call("INFO")
        refuse_cluster(info)
        self.identity = ServerIdentity.of(info)
        return self.identity

    async def call(self, *command: object) -> Any:
        """Send one command and return its answer, with strings as bytes.

        Raises:
            Unavailable: no answer in time, or the server cannot execute it now; the session ends.
            Misconfigured: the user may not execute the command.
            Fatal: the server does not understand the command, which is a bug in promptmill.
        """
        async with self._turn:
            try:
                return await self._exchange(command)
            except NoScriptError:
                raise
            except (AuthenticationError, AuthorizationError, NoPermissionError) as error:
                raise _away(error) from error
            except ResponseError as error:
                await self.close()
                raise _classified(error) from error
            except (RedisError, OSError, TimeoutError) as error:
                await self.close()
                raise _away(error) from error

    async def send(self, commands: bytes, replies: bytes) -> None:
        """Send packed commands, each of which is answered with a number.

        Args:
            replies: the expected replies; other numbers are accepted too.

        Raises:
            Unavailable: no answer in time, or the server cannot execute it now; the session ends.
        """
        async with self._turn:
            try:
                async with asyncio.timeout(self._timeout_s):
                    answer = await self._exchange_packed(commands, replies.count(b"\n"))
            except (RedisError, OSError, TimeoutError) as error:
                await self.close()
                raise _away(error) from error
            if answer != replies and b"-" in answer:
                await self.close()
                raise _classified(_first_error(answer))

    async def run(self, script: LuaScript, keys: Sequence[bytes], *args: bytes) -> Any:
        """Run a script, in one round trip if the server has it already, and return its result."""
        rest = (len(keys), *keys, *args)
        try:
            return await self.call("EVALSHA", script.digest, *rest)
        except NoScriptError:
            await self.call("SCRIPT LOAD", script.source)
            return await self.call("EVALSHA", script.digest, *rest)

    async def _exchange(self, command: tuple[object, ...]) -> Any:
        if not self._connection.is_connected:  # redis-py would reconnect, perhaps to another server
            raise ConnectionResetError("the connection was closed")
        await self._connection.send_command(*command)
        return await self._connection.read_response()

    async def _exchange_packed(self, commands: bytes, count: int) -> bytes:
        """Read the raw replies, because redis-py would take 15 µs to parse each."""
        if not self._connection.is_connected:
            raise ConnectionResetError("the connection was closed")
        await self._connection.send_packed_command(commands)
        parts: list[bytes] = []
        while count > 0:
            parts.append(await self._connection._reader.read(_READ_BYTES))  # noqa: SLF001
            if not parts[-1]:
                raise ConnectionResetError("the connection was closed")
            count -= parts[-1].count(b"\n")
        return b"".join(parts)


def _away(error: Exception) -> Misconfigured | Unavailable:
    """Return ``Misconfigured`` if the server refuses the login or a certificate."""
    if problem := refusal(error):
        return Misconfigured(problem)
    return Unavailable(f"Redis does not answer: {absence(error)}", retry_after_s=_RETRY_S)


def _first_error(replies: bytes) -> ResponseError:
    lines = replies.split(b"\r\n")
    return ResponseError(next(line[1:].decode() for line in lines if line.startswith(b"-")))


def _classified(error: ResponseError) -> Unavailable | Fatal:
    """Classify an error by its code, which older servers put into the text of a script's error."""
    text = str(error)
    status = getattr(error, "status_code", None)
    for code in _NOT_NOW:
        if code in (status, *text.replace("-", " ").replace(":", " ").split()):
            remedy = _REMEDIES.get(code, "the call is retried")
            return Unavailable(
                f"Redis cannot execute the command now: {text}; {remedy}", retry_after_s=_RETRY_S
            )
    return Fatal(f"Redis rejects the command: {text}")
