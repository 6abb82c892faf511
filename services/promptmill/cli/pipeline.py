"""Queries to a running pipeline: its workers, and the partition layout of its data set."""

from __future__ import annotations

from promptmill.cli.addresses import Addresses
from promptmill.cli.settings import CommandSettings
from promptmill.dedup.session import Session
from promptmill.runtime.errors import PromptmillError
from promptmill.runtime.telemetry.registry import WorkerInfo, read_workers
from promptmill.stream.layout import DataSetLayout
from promptmill.worker.layout import find_layout
from promptmill_schemas import Topic

TIMEOUT_S = 2.0


async def addressed_layout(
    addresses: Addresses, settings: CommandSettings, *topics: Topic
) -> DataSetLayout:
    """Return the data set's partition layout; raise the errors of :func:`find_layout`."""
    names = [settings.topic(topic) for topic in topics]
    prefix = settings.topic_prefix
    return await find_layout(addresses.kafka, addresses.redis, addresses.store, prefix, names)


async def alive_workers(redis_url: str, prefix: str) -> list[WorkerInfo] | None:
    """Return the live workers of all stages, or ``None`` if Redis does not answer."""
    try:
        await redis_version(redis_url)
        return await read_workers(redis_url, prefix)
    except (PromptmillError, OSError):
        return None


async def redis_version(redis_url: str) -> str:
    """Return the name and version of the Redis server.

    Raises:
        Unavailable: the server does not answer in time.
        Misconfigured: the URL or credentials are wrong, or the server may lose writes.
    """
    session = await Session.open(redis_url, TIMEOUT_S)
    try:
        said: bytes = await session.call(b"INFO", b"server")
    finally:
        await session.close()
    facts = dict(line.split(":", 1) for line in said.decode().splitlines() if ":" in line)
    name = facts.get("server_name", "redis")
    return f"{name} {facts.get('valkey_version') or facts['redis_version']}"
