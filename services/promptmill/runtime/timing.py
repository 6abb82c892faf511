"""The deadline of a shutdown, which all of its steps share, and the back-off between attempts."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger(__name__)

CLOSING_SHARE = 0.25
MAX_CLOSING_S = 10.0
MIN_CLOSING_S = 3.0

Draw = Callable[[], float]
"""A function that returns a random number in [0, 1); tests replace it."""

_MAX_DOUBLINGS = 30


def backoff_s(failures: int, initial_s: float, max_s: float, draw: Draw = random.random) -> float:
    """Return the pause after this many consecutive failures (from 1), in seconds.

    The pause doubles with each failure up to ``max_s``. Half of it is fixed and half is random
    ("equal jitter"), so that workers do not retry a shared dependency all at the same time.
    """
    ceiling = min(max_s, initial_s * 2 ** min(failures - 1, _MAX_DOUBLINGS))
    return float(ceiling / 2 * (1 + draw()))


class Deadline:
    """The time by which a stopping process has to end.

    The last part of the grace period is reserved for the steps after the drain: the last commit,
    leaving the group, and the producer's flush. A step may take at most half of what remains of
    it, so that a step that hangs leaves time for the others.

    Args:
        grace_s: the grace period in seconds. Closing gets at least ``MIN_CLOSING_S``, even if the
            grace period is shorter.
        clock: monotonic time in seconds.
    """

    def __init__(self, grace_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        closing_s = min(grace_s * CLOSING_SHARE, MAX_CLOSING_S)
        self._clock = clock
        self._drained_by = clock() + grace_s - closing_s
        self._ended_by = self._drained_by + max(closing_s, MIN_CLOSING_S)

    @property
    def drain_left_s(self) -> float:
        """Seconds left for the records in flight."""
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
        """Await the action, and abandon it if it takes longer than :attr:`step_s`.

        Unlike ``asyncio.timeout``, this does not wait for an action that ignores its cancellation.

        Returns:
            Whether the action has ended.
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
        """Run a step of an exit stack; an error is reported, and the other steps still run."""
        try:
            await self.run(step, action())
        except Exception as error:  # noqa: BLE001 - on_error decides what it means
            log.warning("shutdown_step_failed", step=step, error=repr(error))
            on_error(error)


async def until_stopped(serving: asyncio.Task[None], stop: asyncio.Event) -> None:
    """Wait for the task or the event, whichever is first; the task is not cancelled.

    Raises:
        asyncio.CancelledError: the caller was cancelled, and the task with it.
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
