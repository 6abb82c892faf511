"""The workers that are alive, as far as the registry can be asked."""

from __future__ import annotations

from promptmill.core.errors import PromptmillError
from promptmill.core.gates.redis_session import Session
from promptmill.core.telemetry.registry import WorkerInfo, read_workers

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
