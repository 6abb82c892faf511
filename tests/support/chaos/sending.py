"""Publishing for tests: every message until the broker has acknowledged it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TypeAlias

from promptmill.kafka.sender import KafkaSender
from promptmill.runtime.errors import Transient
from promptmill_schemas import Prompt, encode
from support.chaos.topic_log import PROMPTS

Send: TypeAlias = Callable[[str, str, bytes], Awaitable[None]]
"""Topic (short name), key, value."""

_PAUSE_S = 0.2
_AT_ONCE = 500


@asynccontextmanager
async def sending(bootstrap: str, prefix: str) -> AsyncIterator[Send]:
    """A function that publishes, and tries again while the broker is away."""
    sender = KafkaSender(bootstrap, client_id="chaos", delivery_timeout_s=20.0)
    await sender.start()

    async def send(topic: str, key: str, value: bytes) -> None:
        while True:
            try:
                return await sender.send(prefix + topic, key.encode(), value)
            except Transient:
                await asyncio.sleep(_PAUSE_S)

    try:
        yield send
    finally:
        await sender.stop()


async def publish(
    send: Send,
    prompts: Iterable[Prompt],
    acknowledged: Callable[[str], None],
    per_s: float = 0.0,
) -> None:
    """Publish prompts.

    Args:
        acknowledged: told the id of each prompt that stands on the topic.
        per_s: how many in a second; 0: as fast as they are taken.
    """
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(prompt: Prompt) -> None:
        try:
            await send(PROMPTS, prompt.prompt_id, encode(prompt))
            acknowledged(prompt.prompt_id)
        finally:
            room.release()

    async with asyncio.TaskGroup() as group:
        for prompt in prompts:
            await room.acquire()
            group.create_task(one(prompt))
            if per_s:
                await asyncio.sleep(1 / per_s)
