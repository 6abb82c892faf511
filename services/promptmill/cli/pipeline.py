"""What a command asks a running pipeline for: its workers, and the layout of its data set."""

from __future__ import annotations

from promptmill.cli.addresses import Addresses
from promptmill.cli.settings import CommandSettings
from promptmill.dedup.session import Session
from promptmill.runtime.errors import PromptmillError
from promptmill.runtime.telemetry.registry import WorkerInfo, read_workers
from promptmill.stream.layout import Layout
from promptmill.worker.layout import find_layout
from promptmill_schemas import Topic


async def addressed_layout(
    addresses: Addresses, settings: CommandSettings, *topics: Topic
) -> Layout:
    """Over how many partitions to spread keys; see :func:`find_layout` for what it raises."""
    names = [settings.topic(topic) for topic in topics]
    prefix = settings.topic_prefix
    return await find_layout(addresses.kafka, addresses.redis, addresses.store, prefix, names)


TIMEOUT_S = 2.0


async def alive_workers(redis_url: str, prefix: str) -> list[WorkerInfo] | None:
    """Every worker that has reported lately; ``None`` when Redis is away."""
    try:
        await redis_version(redis_url)
        return await read_workers(redis_url, prefix)
    except (PromptmillError, OSError):
        return None


async def redis_version(redis_url: str) -> str:
    """What the server says that it is.

    Raises:
        Unavailable: no answer in time.
        Misconfigured: wrong URL or credentials, or a server that may forget what it is told.
    """
    session = await Session.open(redis_url, TIMEOUT_S)
    try:
        said: bytes = await session.call(b"INFO", b"server")
    finally:
        await session.close()
    facts = dict(line.split(":", 1) for line in said.decode().splitlines() if ":" in line)
    name = facts.get("server_name", "redis")
    return f"{name} {facts.get('valkey_version') or facts['redis_version']}"
