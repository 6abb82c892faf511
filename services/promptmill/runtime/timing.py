"""How long something may take, and how long to wait before it is tried again.

A shutdown has one deadline that all of its steps share. A pause grows with every failure.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

import structlog

Draw = Callable[[], float]
"""A random number from 0 to 1, without 1; tests put in their own."""

_MAX_DOUBLINGS = 30


def backoff_s(failures: int, initial_s: float, max_s: float, draw: Draw = random.random) -> float:
    """The pause after this many failures in a row (from 1), in seconds.

    The pause doubles with each failure up to ``max_s``; half of it is fixed and the other half
    is drawn ("equal jitter"). Workers whose shared dependency returns would otherwise all come
    back at the same moment, again and again.
    """
    ceiling = min(max_s, initial_s * 2 ** min(failures - 1, _MAX_DOUBLINGS))
    return float(ceiling / 2 * (1 + draw()))


log = structlog.get_logger(__name__)

CLOSING_SHARE = 0.25
MAX_CLOSING_S = 10.0
MIN_CLOSING_S = 3.0


class Deadline:
    """The time by which a stopping process has ended, made once, when it is told to stop.

    The last part of the grace period is kept for what comes after the drain: the last commit,
    leaving the group, the producer's flush. A step may take half of that part at most, so a step
    that hangs leaves time for those after it.

    Args:
        grace_s: the whole of it, in seconds. Closing has at least ``MIN_CLOSING_S``, also where
            the grace period is shorter.
        clock: monotonic, in seconds.
    """

    def __init__(self, grace_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        closing_s = min(grace_s * CLOSING_SHARE, MAX_CLOSING_S)
        self._clock = clock
        self._drained_by = clock() + grace_s - closing_s
        self._ended_by = self._drained_by + max(closing_s, MIN_CLOSING_S)

    @property
    def drain_left_s(self) -> float:
        """Seconds that work in flight still has."""
        return max(0.0, self._drained_by - self._clock())

    @property
    def left_s(self) -> float:
        """Seconds until the process must have ended."""
        return max(0.0, self._ended_by - self._clock())

    @property
    def step_s(self) -> float:
        """Seconds that the next step may take."""
        return self.left_s - (self.left_s - self.drain_left_s) / 2

    async def run(self, step: str, action: Awaitable[object]) -> bool:
        """Await the action; one that takes too long is cancelled and left behind.

        What ignores its cancellation would hold up ``asyncio.timeout``, but not this.

        Returns:
            whether it has ended.
        """
        task = asyncio.ensure_future(action)
        limit_s = self.step_s
        try:
            await asyncio.wait({task}, timeout=limit_s)
        finally:
            if not task.done():
                task.cancel()
                task.add_done_callback(_note_late_failure)
        if task.done():
            await task
            return True
        log.warning("shutdown_step_abandoned", step=step, after_s=round(limit_s, 1))
        return False

    async def close(
        self,
        step: str,
        action: Callable[[], Awaitable[object]],
        on_error: Callable[[Exception], None],
    ) -> None:
        """Run a step of an exit stack: its error is reported, and the steps after it still run."""
        try:
            await self.run(step, action())
        except Exception as error:  # noqa: BLE001 - on_error decides what it means
            log.warning("shutdown_step_failed", step=step, error=repr(error))
            on_error(error)


async def until_stopped(serving: asyncio.Task[None], stop: asyncio.Event) -> None:
    """Wait for the task or for the event, whichever comes first; the task goes on.

    Raises:
        asyncio.CancelledError: the caller was cancelled; then the task is cancelled too.
    """
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        serving.cancel()
        raise
    finally:
        stopped.cancel()


def _note_late_failure(task: asyncio.Future[object]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("abandoned_step_failed", error=repr(error))
