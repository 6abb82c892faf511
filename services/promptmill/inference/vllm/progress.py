"""The progress of an engine: outstanding requests, and the time of the last computed step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from promptmill.inference.ports import Load


class EngineProgress:
    """Counts the outstanding requests and remembers when the engine last made progress."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()
        self.outstanding = 0
        self._load = Load()

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count a request as outstanding; the time without progress starts with the first one."""
        if self.outstanding == 0:
            self.beat()
        self.outstanding += 1
        try:
            yield
        finally:
            self.outstanding -= 1

    def beat(self) -> None:
        """Record progress."""
        self._last = self._clock()

    def stepped(self, running: int, waiting: int) -> None:
        """Record the end of a step, with the requests that the scheduler still has."""
        self.beat()
        self._load = Load(running, waiting)

    @property
    def load(self) -> Load:
        """The scheduler's load after its last step."""
        return self._load if self.outstanding else Load()

    def silent_s(self) -> float:
        """Seconds without progress while requests are outstanding; 0 for an idle engine."""
        return self._clock() - self._last if self.outstanding else 0.0
