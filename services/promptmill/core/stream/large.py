"""Large messages are read and written beside the event loop.

A message of 8 MiB takes 20 to 100 ms to decode, depending on how much of it is escaped; nothing
else may run on the loop meanwhile, not even the heartbeat. A thread costs 0.1 ms, so that small
messages stay where they are. The parser holds the interpreter's lock inside one call, at most a
third of the whole; between its calls the loop runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

LARGE_BYTES: Final = 256 * 1024
"""From here on a message is large: 1 to 3 ms to decode."""

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


async def sized_call(
    size: int, call: Callable[Given, Answer], *given: Given.args, **options: Given.kwargs
) -> Answer:
    """What the call returns or raises; it runs in a thread if it works on a large message.

    Args:
        size: bytes that it works on.
    """
    if size < LARGE_BYTES:
        return call(*given, **options)
    return await asyncio.to_thread(call, *given, **options)
