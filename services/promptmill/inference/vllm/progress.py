"""Whether an engine moves: what is outstanding, and when anything was last computed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from promptmill.inference.ports import Load


class Progress:
    """Counts outstanding requests and remembers the last sign of work."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()
        self.outstanding = 0
        self._load = Load()

    @contextmanager
    def request(self) -> Iterator[None]:
        """One request is outstanding; an idle engine has owed nothing until now."""
        if self.outstanding == 0:
            self.beat()
        self.outstanding += 1
        try:
            yield
        finally:
            self.outstanding -= 1

    def beat(self) -> None:
        """Something was computed."""
        self._last = self._clock()

    def stepped(self, running: int, waiting: int) -> None:
        """A step has ended, and this is what the engine's scheduler has left to do."""
        self.beat()
        self._load = Load(running, waiting)

    @property
    def load(self) -> Load:
        """What the scheduler had left to do after its last step."""
        return self._load if self.outstanding else Load()

    def silent_s(self) -> float:
        """Seconds without a sign of work while something is outstanding."""
        return self._clock() - self._last if self.outstanding else 0.0
