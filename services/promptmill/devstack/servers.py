"""The servers that one home's state describes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from promptmill.devstack.daemon import Daemon
from promptmill.devstack.jars import DownloadProgress, OnProgress
from promptmill.devstack.kafka import KafkaCluster
from promptmill.devstack.redis import RedisServer
from promptmill.devstack.security import StackSecurity
from promptmill.devstack.state import StackState
from promptmill.runtime.redis_client import without_password


@dataclass(frozen=True, slots=True)
class StackInfo:
    """The addresses of a running stack.

    Attributes:
        kafka: the bootstrap servers of Kafka.
        redis: the URL of Redis.
        home: the absolute path of the home folder.
        missing: the servers that should run and do not; ``up`` starts them again.
        secure: whether the servers need a login; see :class:`StackSecurity`.
    """

    kafka: str
    redis: str = field(repr=False)
    home: Path
    missing: tuple[str, ...] = ()
    secure: bool = False

    @property
    def shown_redis(self) -> str:
        """The URL of Redis without its password."""
        return without_password(self.redis)

    def as_json(self) -> dict[str, str]:
        """Return the object that ``promptmill up --json`` prints."""
        found = {"kafka": self.kafka, "redis": self.shown_redis, "home": str(self.home)}
        return found | ({"secure": str(self.home / "secure")} if self.secure else {})


class Servers:
    """Kafka and Redis of one home, which can be started, stopped and disturbed separately.

    Args:
        home: the absolute path of the home folder.
        state: the state with the ports.
    """

    def __init__(self, home: Path, state: StackState) -> None:
        self.home = home
        self.security = StackSecurity(home) if state.secure else None
        self.kafka = KafkaCluster(home, state.brokers, self.security)
        self.redis = RedisServer(home, state.redis_port, self.security)

    def daemons(self) -> tuple[Daemon, ...]:
        """Return the processes of all servers."""
        return (self.redis.daemon(), *(self.kafka.daemon(node) for node in self.kafka.brokers))

    def missing(self) -> tuple[str, ...]:
        """Return the names of the servers that do not run."""
        return tuple(daemon.name for daemon in self.daemons() if not daemon.is_running())

    def info(self) -> StackInfo:
        """Return the addresses of the servers."""
        secure = self.security is not None
        return StackInfo(self.kafka.bootstrap, self.redis.url, self.home, self.missing(), secure)

    def wait_ready(self, on_progress: OnProgress) -> None:
        """Wait until all servers answer.

        Raises:
            PortTaken, Fatal: a server does not start; see ``KafkaCluster`` and ``RedisServer``.
        """
        total = len(self.daemons())
        on_progress(DownloadProgress("starting Redis and Apache Kafka", 0, total, "servers"))
        self.redis.wait_ready()
        on_progress(DownloadProgress("starting Redis and Apache Kafka", 1, total, "servers"))
        self.kafka.wait_ready()
        on_progress(DownloadProgress("starting Redis and Apache Kafka", total, total, "servers"))
