"""The limits for a sink's buffering, flushing and retries; the names contain the units."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from promptmill.runtime.errors import Misconfigured
from promptmill.runtime.timing import Draw, backoff_s


class Backoff:
    """Pauses that double with every failure in a row; see :mod:`promptmill.runtime.timing`."""

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
        """The seconds until the next attempt; negative if it may begin."""
        return self._until - self._clock()

    def failed(self) -> float:
        """Count a failure, and return the pause before the next attempt in seconds."""
        self._failures += 1
        limits = self._limits
        pause = backoff_s(
            self._failures, limits.backoff_initial_s, limits.backoff_max_s, self._draw
        )
        self._until = self._clock() + pause
        return pause

    def succeeded(self) -> None:
        """Reset the pause."""
        self._failures = 0


MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class SinkLimits:
    """Limits of one sink's loop.

    Attributes:
        flush_delay_s: the longest time that a message waits for its flush, unless flushes are slow
            (see :meth:`Buffer.adapt <promptmill.store.buffer.Buffer.adapt>`).
        flush_rows: the largest flush; with this many messages, a flush begins at once.
        flush_bytes: the same in bytes of messages.
        buffer_rows: the number of queued messages at which every partition is paused.
        buffer_bytes: the same in bytes of messages.
        backoff_initial_s: the pause after the first failure of the storage; it doubles each time.
        backoff_max_s: the longest such pause.
        revoke_budget_s: the longest time that revoked partitions wait for their last flush.
        grace_s: the longest time for a whole shutdown, including the last flush.
        compact_commits: the number of flushes after which small files are merged; 0 disables it.
        vacuum_hours: how long files that were merged away are kept; -1 keeps them indefinitely.
    """

    flush_delay_s: float = 1.0
    flush_rows: int = 10_000
    flush_bytes: int = 32 * MIB
    buffer_rows: int = 30_000
    buffer_bytes: int = 96 * MIB
    backoff_initial_s: float = 0.2
    backoff_max_s: float = 10.0
    revoke_budget_s: float = 3.0
    grace_s: float = 30.0
    compact_commits: int = 200
    vacuum_hours: int = 24

    def __post_init__(self) -> None:
        for name in ("flush_rows", "flush_bytes", "flush_delay_s", "backoff_initial_s"):
            if getattr(self, name) <= 0:
                raise Misconfigured(f"{name} is {getattr(self, name)}: it must be above 0")
        for waiting, taken in (("buffer_rows", "flush_rows"), ("buffer_bytes", "flush_bytes")):
            if getattr(self, waiting) < getattr(self, taken):
                raise Misconfigured(
                    f"{waiting} is {getattr(self, waiting)}, below {taken} "
                    f"({getattr(self, taken)}): raise it"
                )
