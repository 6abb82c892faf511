"""Redis on loopback, its data in one folder, its claims on disk."""

from __future__ import annotations

import os
import time
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from promptmill.devstack.daemon import Daemon, stop_all
from promptmill.devstack.failures import PORT_IN_USE, PortTaken
from promptmill.devstack.ports import LOOPBACK
from promptmill.devstack.redis_binary import BINARY_VARIABLE, RedisBinary, find_binary
from promptmill.runtime.errors import Fatal

READY_WITHIN_S = 30.0
STOP_WITHIN_S = 15.0

_MAX_MEMORY = "1gb"
_ANSWER_WITHIN_S = 5.0
_POLL_S = 0.02


class RedisServer:
    """Starts, stops and disturbs the Redis of one home.

    Args:
        home: absolute path of the folder.
        port: on loopback.
    """

    def __init__(self, home: Path, port: int) -> None:
        self.home = home
        self.port = port

    @property
    def url(self) -> str:
        """The address of database 0."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    def is_running(self) -> bool:
        """Whether the process exists, a frozen one too."""
        return self.daemon().is_running()

    def start(self, binary: RedisBinary | None = None) -> None:
        """Starts the server if it does not run; ``wait_ready`` waits for it."""
        if self.is_running():
            return
        binary = binary or find_binary()
        daemon = self.daemon()
        data = daemon.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        daemon.marker.write_text(self._settings(data), "utf-8")
        environment = {"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath)}
        daemon.start((str(binary.path), str(daemon.marker)), environment)

    def stop(self, grace_s: float = STOP_WITHIN_S) -> None:
        """Stops it with SIGTERM, and with SIGKILL after the grace."""
        stop_all([self.daemon()], grace_s)

    def kill(self) -> None:
        """Ends it with SIGKILL; up to one second of writes may be lost (appendfsync everysec)."""
        self.daemon().kill()

    def pause(self) -> None:
        """Freezes it."""
        self.daemon().pause()

    def resume(self) -> None:
        """Lets a frozen server go on."""
        self.daemon().resume()

    def restart(self, timeout_s: float = READY_WITHIN_S) -> None:
        """Stops it if it runs, starts it on the same data and port, waits for it."""
        self.stop()
        self.start()
        self.wait_ready(timeout_s)

    def wait_ready(self, timeout_s: float = READY_WITHIN_S) -> None:
        """Waits until it has loaded its data and answers PING.

        Raises:
            PortTaken: it ended because its port is in use.
            Fatal: it ended, or did not answer in time; the message ends with its output.
        """
        deadline = time.monotonic() + timeout_s
        with self._client(min(timeout_s, _ANSWER_WITHIN_S)) as client:
            while not _answers(client):
                self._check_alive()
                if time.monotonic() > deadline:
                    raise Fatal(
                        f"Redis did not answer on port {self.port} within {timeout_s:g} s; "
                        f"see {self.daemon().output}"
                    )
                time.sleep(_POLL_S)

    def daemon(self) -> Daemon:
        """The process."""
        return redis_daemon(self.home)

    def _client(self, timeout_s: float) -> redis.Redis:
        never = Retry(NoBackoff(), retries=0)  # the default waits for seconds between attempts
        return redis.Redis(host=LOOPBACK, port=self.port, socket_timeout=timeout_s, retry=never)

    def _check_alive(self) -> None:
        daemon = self.daemon()
        if daemon.is_running():
            return
        said = daemon.last_output()
        if PORT_IN_USE in said:
            raise PortTaken(daemon.name)
        raise Fatal(
            f"Redis exited while it was starting; see {daemon.output}. If another server version "
            f"wrote the data, set {BINARY_VARIABLE} to that version, or discard the data with "
            f"'promptmill down --purge'\n{said}"
        )

    def _settings(self, data: Path) -> str:
        """``redis.conf``, in words that Redis 6.2 and Valkey both know."""
        lines = (
            f"bind {LOOPBACK}",
            f"port {self.port}",
            f'dir "{_escaped(data)}"',
            "daemonize no",
            "set-proc-title no",  # the path of this file must stay among the arguments
            'logfile ""',
            # Claims must survive a restart; one second of them may be lost to a power cut, and
            # the filter notices by its epoch key. Snapshots would add nothing.
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            # A full server must say so; forgetting claims would let duplicates through.
            f"maxmemory {_MAX_MEMORY}",
            "maxmemory-policy noeviction",
        )
        return "\n".join(lines) + "\n"


def redis_daemon(home: Path) -> Daemon:
    """The process of the home's Redis, whatever its port."""
    folder = home / "redis"
    return Daemon(
        name="redis",
        marker=folder / "redis.conf",
        folder=folder,
        pid_file=home / "run" / "redis.pid",
        output=home / "logs" / "redis.log",
    )


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except (redis.ConnectionError, redis.TimeoutError):  # the first includes "loading"
        return False


def _escaped(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace('"', '\\"')
