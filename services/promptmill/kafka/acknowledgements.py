"""Messages that wait for their acknowledgement, and the clock of the broker that gives it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from promptmill.runtime.errors import Misconfigured

MAX_SKEW_S = 3600.0
"""Far beyond what NTP leaves, far below what retention or a person would notice."""

LOG_APPEND_TIME = 1
wall_clock = time.time


def check_clock(topic: str, acknowledged: Any, waited_s: float) -> None:
    """Compare an acknowledgement's append time with ours.

    Args:
        acknowledged: the producer's ``RecordMetadata``. Only topics with
            ``message.timestamp.type=LogAppendTime`` say when they have appended.
        waited_s: since the message was handed to the producer; it may have been appended at any
            moment of this, also of one in which this process was stopped.

    Raises:
        Misconfigured: the clocks are more than an hour apart. The message is on the topic.
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
    """A message that is not acknowledged yet; ``acknowledged`` is there once it is queued."""

    topic: str
    since: float
    acknowledged: asyncio.Future[Any] | None = field(default=None, repr=False)

    def fail(self, error: Exception) -> None:
        """Let the caller go, with this error; the producer may still deliver the message."""
        if self.acknowledged is not None and not self.acknowledged.done():
            self.acknowledged.set_exception(error)


class Unacknowledged:
    """All messages of one sender that wait, in the order in which they came."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: dict[Waiting, None] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def oldest_s(self) -> float:
        """For how long the oldest has been waiting; 0 without any."""
        oldest = next(iter(self._waiting), None)
        return 0.0 if oldest is None else self.age_s(oldest)

    def age_s(self, waiting: Waiting) -> float:
        """For how long this one has been waiting."""
        return self._clock() - waiting.since

    @contextmanager
    def one(self, topic: str) -> Iterator[Waiting]:
        """A message to this topic waits while the block runs."""
        waiting = Waiting(topic, self._clock())
        self._waiting[waiting] = None
        try:
            yield waiting
        finally:
            del self._waiting[waiting]

    def longer_than(self, seconds: float) -> list[Waiting]:
        """Those that have been waiting for longer."""
        return [waiting for waiting in self._waiting if self.age_s(waiting) >= seconds]
