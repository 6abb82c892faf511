"""How many requests a server takes at once, found out by its own refusals."""

from __future__ import annotations

GROWTH = 32
"""Windows without a refusal in which the limit climbs from nothing to its maximum."""


class Aimd:
    """Additive increase, multiplicative decrease, decided once for each window of answers.

    A window is as many answers as the limit. The answers that were taken raise the limit by
    their share of a fixed step, the refusals lower it by half their share of itself: a storm
    halves it, and refusals that come by chance, one in ten, leave 256 at 137. A window that is
    half refused is closed at once.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._step = max(1.0, maximum / GROWTH)
        self._limit = float(maximum)
        self._answers = 0
        self._refusals = 0

    @property
    def limit(self) -> int:
        """Requests that may be at the server now, at least one."""
        return int(self._limit)

    def answered(self, *, refused: bool) -> None:
        """One request has come back, taken or refused for overload."""
        self._answers += 1
        self._refusals += refused
        if self._answers >= self._limit or self._refusals >= self._limit / 2:
            self._close_window()

    def _close_window(self) -> None:
        refused = self._refusals / self._answers
        limit = (self._limit + self._step * (1 - refused)) * (1 - refused / 2)
        self._limit = min(max(limit, 1.0), float(self._maximum))
        self._answers = self._refusals = 0
