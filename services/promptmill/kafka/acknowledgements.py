"""Tracks messages that are not acknowledged yet, and checks the clock of the broker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from promptmill.runtime.errors import Misconfigured

MAX_SKEW_S = 3600.0
"""The allowed difference of clocks: far above the error of NTP, far below any retention."""

LOG_APPEND_TIME = 1
wall_clock = time.time


def check_clock(topic: str, acknowledged: Any, waited_s: float) -> None:
    """Compare the append time of an acknowledged message with the local clock.

    Args:
        acknowledged: the producer's ``RecordMetadata``. It has an append time only if the topic
            has ``message.timestamp.type=LogAppendTime``.
        waited_s: seconds since the message was passed to the producer. It may have been appended
            at any time since then, even while this process was stopped.

    Raises:
        Misconfigured: the clocks differ by more than an hour. The message is on the topic.
    """
    if getattr(acknowledged, "timestamp_type", None) != LOG_APPEND_TIME:
        return
    now, appended = wall_clock(), acknowledged.timestamp / 1000
    ahead_s = max(0.0, appended - now) or min(0.0, appended - (now - waited_s))
    if abs(ahead_s) > MAX_SKEW_S:
        side = "ahead of" if ahead_s > 0 else "behind"
        raise Misconfigured(
            f"the clock of the broker that leads {topic} is {abs(ahead_s) / 3600:.1f} h {side} "
            "this machine's: retention follows the broker's clock and would delete messages too "
            "early or too late; correct the wrong clock (NTP), then start again"
        )


@dataclass(slots=True, eq=False)
class Waiting:
    """A message that is not acknowledged yet; ``acknowledged`` is set once it is queued."""

    topic: str
    since: float
    acknowledged: asyncio.Future[Any] | None = field(default=None, repr=False)

    def fail(self, error: Exception) -> None:
        """Raise this error in the caller; the producer may still deliver the message."""
        if self.acknowledged is not None and not self.acknowledged.done():
            self.acknowledged.set_exception(error)


class Unacknowledged:
    """The unacknowledged messages of one sender, oldest first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: dict[Waiting, None] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def oldest_s(self) -> float:
        """The age of the oldest message in seconds; 0 if there is none."""
        oldest = next(iter(self._waiting), None)
        return 0.0 if oldest is None else self.age_s(oldest)

    def age_s(self, waiting: Waiting) -> float:
        """Return the age of a message in seconds."""
        return self._clock() - waiting.since

    @contextmanager
    def one(self, topic: str) -> Iterator[Waiting]:
        """Track a message to this topic for the duration of the block."""
        waiting = Waiting(topic, self._clock())
        self._waiting[waiting] = None
        try:
            yield waiting
        finally:
            del self._waiting[waiting]

    def longer_than(self, seconds: float) -> list[Waiting]:
        """Return the messages that are at least this old."""
        return [waiting for waiting in self._waiting if self.age_s(waiting) >= seconds]
