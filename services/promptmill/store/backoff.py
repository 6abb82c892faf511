"""When to try again what has failed."""

from __future__ import annotations

import random
from collections.abc import Callable

from promptmill.core.backoff import Draw, backoff_s
from promptmill.store.limits import SinkLimits


class Backoff:
    """Pauses that double with every failure in a row; see :mod:`promptmill.core.backoff`."""

    def __init__(
        self, limits: SinkLimits, clock: Callable[[], float], draw: Draw = random.random
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._draw = draw
        self._failures = 0
        self._until = 0.0

    @property
    def left_s(self) -> float:
        """Seconds until the next try; negative when it may begin."""
        return self._until - self._clock()

    def failed(self) -> float:
        """One more failure; the pause before the next try, in seconds."""
        self._failures += 1
        limits = self._limits
        pause = backoff_s(
            self._failures, limits.backoff_initial_s, limits.backoff_max_s, self._draw
        )
        self._until = self._clock() + pause
        return pause

    def succeeded(self) -> None:
        """The next failure is the first one."""
        self._failures = 0
