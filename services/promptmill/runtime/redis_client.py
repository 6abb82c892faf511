"""Connections to Redis, in the way that the URL selects, and the rights that they need.

===================================================  ===============================================
URL                                                  server
===================================================  ===============================================
``redis://[user:password@]host:port/db``             one server
``rediss://…``                                       the same with TLS; ``?ssl_ca_certs=FILE``,
                                                     ``&ssl_certfile=FILE&ssl_keyfile=FILE``
``unix://[user:password@]/path?db=0``                one server on this machine
``redis+sentinel://…@host:port[,host:port]/NAME/db`` the primary that Sentinel names;
                                                     ``?sentinel_username=…&sentinel_password=…``
``rediss+sentinel://…``                              the same with TLS
===================================================  ===============================================

Redis Cluster is refused: claims are decided by one server, whose identity shows whether it lost
its data. No message of this module contains a URL's password.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
    RedisError,
)

from promptmill.runtime.errors import Misconfigured, Unavailable

SENTINEL: Final = "+sentinel"
_SENTINEL_PORT: Final = 26379
_LOGIN: Final = re.compile(r"(?<=://)([^/?#@]*):([^@]*)@")
_QUERY_SECRET: Final = re.compile(r"([?&][a-z_]*password=)[^&]*")
_FORMS: Final = (
    "redis://host:port/db (user:password@ before the host), rediss://…, unix://… or "
    "redis+sentinel://host:port,host:port/NAME/db, with special characters of the password as %XX"
)

COMMANDS: Final = (
    *("auth", "hello", "ping", "select", "info", "client|setinfo", "time", "evalsha", "eval"),
    *("script|load", "get", "set", "mget", "del", "unlink", "expire", "pexpire", "scan"),
    *("hget", "hset", "hsetnx", "hmget", "hgetall", "hdel", "hlen", "hincrby", "hvals"),
    *("zadd", "zrange", "zrangebyscore", "zcount", "zscore", "zrem", "zremrangebyscore", "zcard"),
)
"""The commands that promptmill sends, and those that its scripts call."""

_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_REFUSED: Final = (AuthenticationError, AuthorizationError, NoPermissionError)

KEYS: Final = ("promptmill:*", "{*}:*")
"""The keys: the registry, the board and the flight log; and the claims, by their namespace."""


def acl_rules() -> list[str]:
    """Return the rules of a Redis user with exactly the rights that promptmill needs."""
    return [*(f"~{key}" for key in KEYS), "-@all", *(f"+{command}" for command in COMMANDS)]


def acl_line(user: str, password: str) -> str:
    """Return the line of this user in ``redis.conf`` or an ACL file."""
    return " ".join(("user", user, "on", f">{password}", "resetchannels", *acl_rules()))


def without_password(url: str) -> str:
    """Replace the secrets of a URL, which need not be valid, with ``***``."""
    return _QUERY_SECRET.sub(r"\1***", _LOGIN.sub(r"\1:***@", url))


def has_password(url: str) -> bool:
    """Return whether a URL contains a password."""
    return without_password(url) != url


def place_of(url: str) -> str:
    """Return the host and port of the server, or the path of its socket, for messages."""
    rest = without_password(url).partition("://")[2].partition("?")[0]
    place = rest.rpartition("@")[2]
    return place if url.startswith("unix:") else place.partition("/")[0]


def refuse_password_flags(arguments: Iterable[str]) -> None:
    """Refuse an address with a password among the arguments of this process.

    Raises:
        Misconfigured: other users of the machine could read it.
    """
    flag = ""
    for argument in arguments:
        name, equals, value = argument.partition("=")
        flag, given = (name, value) if equals else (flag, argument)
        if flag in {"--redis", "--store", "--kafka"} and has_password(given):
            raise Misconfigured(
                f"{flag} {without_password(given)} has a password, which every user of this "
                f"machine can read in the list of processes: give it in the environment "
                f"(PROMPTMILL_{flag[2:].upper()}) or in the settings file instead"
            )
        flag = "" if equals else argument


def connect(url: str, timeout_s: float = 1.0, *, tries_again: bool = False) -> Redis:
    """Return a client, which connects at its first command.

    Args:
        url: see the module.
        timeout_s: seconds to wait for a connection and for each answer.
        tries_again: whether a failed command is sent again a few times.

    Raises:
        Misconfigured: the URL is invalid.
    """
    options: dict[str, Any] = {} if tries_again else {"retry": Retry(NoBackoff(), retries=0)}
    # The client owns the pool, so closing the client closes its connections and frees the loop.
    return Redis.from_pool(connection_pool(url, timeout_s, **options))


def connection_pool(url: str, timeout_s: float, **options: Any) -> ConnectionPool:
    """Return a pool of connections to the server of the URL.

    Args:
        url: see the module.
        timeout_s: seconds to wait for a connection and for each answer.
        options: further options of redis-py's connections.

    Raises:
        Misconfigured: the URL is invalid.
    """
    options |= {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
    _check_files(url)
    if "ssl_cert_reqs=" in url and "ssl_cert_reqs=required" not in url:
        raise Misconfigured(
            "PROMPTMILL_REDIS has ssl_cert_reqs, but the server's certificate is always verified: "
            "remove it, and name your own authority with ssl_ca_certs=FILE"
        )
    try:
        if SENTINEL in url.partition("://")[0]:
            return _sentinel_pool(url, options)
        return _keeping_cancellations(ConnectionPool.from_url(url, **options))
    except (ValueError, TypeError, KeyError):
        # The cause may quote a part of the password.
        raise Misconfigured(
            f"PROMPTMILL_REDIS ({_recognisable(url)}) is not a Redis URL: write {_FORMS}"
        ) from None


def _recognisable(url: str) -> str:
    """Return a URL without its password, or ``***`` if the value is not a URL of Redis."""
    return without_password(url) if url.startswith(("redis", "unix:")) else "***"


def _check_files(url: str) -> None:
    """Refuse files that cannot be read, which redis-py reports without their names."""
    for name, path in parse_qsl(url.partition("?")[2]):
        if name in _FILES:
            try:
                with Path(path).open("rb"):
                    pass
            except OSError as error:
                raise Misconfigured(
                    f"PROMPTMILL_REDIS: {name} cannot be read: {error}; correct its path"
                ) from None


def _sentinel_pool(url: str, options: dict[str, Any]) -> ConnectionPool:
    scheme, _, rest = url.partition("://")
    address, _, query = rest.partition("?")
    places, _, path = address.partition("/")
    login, at, places = places.rpartition("@")
    service, _, database = path.partition("/")
    if not places or not service:
        raise ValueError("a host or the name of the service is missing")
    # redis-py parses the rest of the URL, TLS options included, as that of one server.
    given = dict(parse_qsl(query))
    asked = {
        name: given.pop(f"sentinel_{name}")
        for name in ("username", "password")
        if f"sentinel_{name}" in given
    }
    plain = scheme.removesuffix(SENTINEL)
    parsed = parse_url(f"{plain}://{login}{at}localhost/{database or 0}?{urlencode(given)}")
    named = {name: value for name, value in parsed.items() if name not in {"host", "port"}}
    kind = named.pop("connection_class", None)
    tls = {"ssl": True} if kind is not None else {}
    certificates = {name: value for name, value in named.items() if name.startswith("ssl_")}
    sentinels = Sentinel(  # type: ignore[no-untyped-call]
        [_host_and_port(place) for place in places.split(",")],
        # Another Sentinel is asked rather than the same one again.
        sentinel_kwargs={
            **options,
            "retry": Retry(NoBackoff(), retries=0),
            **asked,
            **tls,
            **certificates,
        },
    )
    for sentinel in sentinels.sentinels:
        _keeping_cancellations(sentinel.connection_pool)
    own = {**options, **named, **tls}
    pool = _WatchedPool(unquote(service), sentinels, **own)  # type: ignore[no-untyped-call]
    return _keeping_cancellations(pool)


def _keeping_cancellations(pool: ConnectionPool) -> ConnectionPool:
    """Return the pool, changed so that a task that is cancelled during a send stays cancelled.

    redis-py sends with ``asyncio.wait_for``, which loses a cancellation on Python 3.11 if the data
    has just been sent. Ctrl-C arrives at that moment more often than at others, because sending
    wakes the server, which then runs instead of this process.
    """
    kind = pool.connection_class

    class CancellableConnection(kind):  # type: ignore[misc, valid-type]
        async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
            task = asyncio.current_task()
            before = task.cancelling() if task else 0
            if before:
                await asyncio.sleep(0)  # a cancellation that is already due would be lost as well
            await super().send_packed_command(*args, **kwargs)
            if task is not None and task.cancelling() > before:
                # The answer would be taken for that of the next command.
                await self.disconnect(nowait=True)
                raise asyncio.CancelledError

    CancellableConnection.__name__ = f"Cancellable{kind.__name__}"
    pool.connection_class = CancellableConnection
    return pool


class _WatchedPool(SentinelConnectionPool):
    """A pool that closes its connections to Sentinel after each request, unlike the library's."""

    async def get_master_address(self) -> tuple[str, int]:
        """Return the host and port of the primary."""
        try:
            address: tuple[str, int] = await super().get_master_address()  # type: ignore[no-untyped-call]
        finally:
            for sentinel in self.sentinel_manager.sentinels:
                await sentinel.aclose()
        return address


def _host_and_port(place: str) -> tuple[str, int]:
    parts = urlsplit(f"//{place}")
    if not parts.hostname:
        raise ValueError("a host is missing")
    return parts.hostname, parts.port or _SENTINEL_PORT


def refuse_cluster(info: bytes) -> None:
    """Refuse a node of a Redis Cluster.

    Args:
        info: the server's answer to ``INFO`` or ``INFO cluster``.

    Raises:
        Misconfigured: the server is part of a cluster.
    """
    if b"cluster_enabled:1" in info:
        raise Misconfigured(
            "PROMPTMILL_REDIS names a node of a Redis Cluster, which promptmill does not support: "
            "claims need one server that decides. Use a single server with a replica, and "
            "Sentinel (redis+sentinel://host:port,host:port/NAME/0) or a managed service with "
            "cluster mode disabled"
        )


def refusal(error: Exception) -> str:
    """Explain an error of the login or the certificates with a remedy; empty for other errors.

    Args:
        error: the error that redis-py raised.
    """
    said = str(error)
    if isinstance(error, _REFUSED):
        return (
            f"Redis refuses the login: {said}; set user and password in PROMPTMILL_REDIS "
            "(redis://user:password@host:port/db), and give the user the rights that "
            "docs/security.md lists"
        )
    if isinstance(error, MasterNotFoundError) and re.search(r"Auth|NoPerm", said):
        return (
            "Sentinel refuses the login: add ?sentinel_username=…&sentinel_password=… to "
            "PROMPTMILL_REDIS, or correct them, and give the user the rights that "
            "docs/security.md lists"
        )
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return (
            f"the certificate of Redis is refused: {said}; name the PEM file of the authority "
            "that signed it in PROMPTMILL_REDIS (?ssl_ca_certs=FILE), and use the host name of "
            "the certificate"
        )
    if "SSL" in said and "CERTIFICATE" in said.upper():
        return (
            f"Redis asks for a client's certificate and refuses this one or its absence: {said}; "
            "name a certificate and its key in PROMPTMILL_REDIS (?ssl_certfile=FILE&"
            "ssl_keyfile=FILE)"
        )
    return ""


def absence(error: Exception) -> str:
    """Return the reason why no server answers, for messages."""
    if isinstance(error, MasterNotFoundError):
        return (
            f"{error}; if no failover is under way, correct the hosts or the name of the service "
            "in PROMPTMILL_REDIS (redis+sentinel://host:port,host:port/NAME/db)"
        )
    return str(error) or "no answer within the time-out"


async def check_server(url: str, timeout_s: float = 2.0) -> None:
    """Refuse a server that promptmill cannot use.

    Raises:
        Misconfigured: the URL is invalid, the server refuses the login or the certificate, or it
            is part of a cluster.
        Unavailable: the server does not answer.
    """
    redis = connect(url, timeout_s)
    try:
        found: dict[str, object] = await redis.info("cluster")
    except (RedisError, OSError, TimeoutError) as error:
        if problem := refusal(error):
            raise Misconfigured(f"{problem} (at {place_of(url)})") from error
        raise Unavailable(f"Redis at {place_of(url)} does not answer: {absence(error)}") from error
    finally:
        await redis.aclose()
    refuse_cluster(f"cluster_enabled:{found.get('cluster_enabled', 0)}".encode())
