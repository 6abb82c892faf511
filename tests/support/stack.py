"""Real Kafka and Redis for tests, each in a folder of its own and stopped at the end."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from promptmill.devstack.servers import Servers
from promptmill.devstack.stack import StackInfo, attach, down, up


@contextmanager
def running_stack(home: Path, brokers: int = 1) -> Iterator[StackInfo]:
    """A stack in the home while the block runs; nothing of it is left afterwards."""
    try:
        yield up(home, brokers)
    finally:
        down(home, purge=True)


@contextmanager
def running_servers(home: Path, brokers: int = 1) -> Iterator[Servers]:
    """The same, to stop, kill and freeze its servers one by one."""
    with running_stack(home, brokers):
        servers = attach(home)
        assert servers is not None
        yield servers


def flush(redis_url: str) -> None:
    """Empties all databases of the Redis."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()


def unique_name(prefix: str = "t") -> str:
    """A name that no other topic, group or run has."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"
