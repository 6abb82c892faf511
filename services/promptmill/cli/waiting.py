"""Waiting until a run is settled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from promptmill.cli.run_status import RunStatus
from promptmill.runtime.errors import Transient

MIN_PAUSE_S = 0.5
PAUSE_FACTOR = 4
"""A pause lasts this many times as long as the reading before it."""


async def wait_until_settled(
    read: Callable[[], Awaitable[RunStatus]],
    limit_s: float,
    show: Callable[[RunStatus], None],
) -> RunStatus:
    """Read a run's status until it is settled, and return the last status.

    Errors of a broker or store that is temporarily unavailable are ignored until the limit. The
    pauses are proportional to the duration of a reading, so that waiting takes at most a fifth
    of one core.

    Args:
        read: reads the status.
        limit_s: maximum seconds to wait.
        show: called with every status.

    Raises:
        Transient: the last reading before the limit failed.
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
        pause = max(MIN_PAUSE_S, PAUSE_FACTOR * (now - begin))
        await asyncio.sleep(min(pause, max(0.0, deadline - now)))
