"""Messages that are sent and not acknowledged: how many, and for how long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


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
