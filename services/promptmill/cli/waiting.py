"""Asking for a run's state until it is settled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from promptmill.cli.run_status import RunStatus
from promptmill.runtime.errors import Transient

MIN_PAUSE_S = 0.5
SHARE_OF_TIME = 4


async def wait_until_settled(
    read: Callable[[], Awaitable[RunStatus]],
    limit_s: float,
    show: Callable[[RunStatus], None],
) -> RunStatus:
    """The first settled state, or the last one before the limit.

    A broker or store that is away for a while is waited for. Pauses grow with the time that a
    reading takes, so that waiting costs at most a fifth of one core.

    Args:
        show: told every state.

    Raises:
        Transient: nothing could be read at the limit.
    """
    deadline = time.monotonic() + limit_s
    while True:
        begin, status, failure = time.monotonic(), None, None
        try:
            status = await read()
        except Transient as error:
            failure = error
        now = time.monotonic()
        if status is not None:
            show(status)
            if status.settled or now >= deadline:
                return status
        elif failure is not None and now >= deadline:
            raise failure
        pause = max(MIN_PAUSE_S, SHARE_OF_TIME * (now - begin))
        await asyncio.sleep(min(pause, max(0.0, deadline - now)))
