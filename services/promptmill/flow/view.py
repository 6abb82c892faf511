"""How a process learns the lags: from the board, otherwise from Kafka, otherwise not at all.

Workers and publishers do the same: what is on the board counts while it is fresh. Without it Kafka
is asked, each 2.5 to 7.5 s, so that many processes do not ask at the same moment. If that fails
too, the caller lets a trickle through, which is bounded and never stops.
"""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from promptmill.flow.lags import Lags, TopicLag
from promptmill.flow.measure import Measurement, PositionReader
from promptmill.flow.reports import WorkerReport

MEASURE_LIMIT_S: Final = 10.0
"""A measurement that takes longer is given up."""

ALONE_S: Final = 5.0
"""Without the board, a process asks Kafka this often, give or take a half."""


@dataclass(frozen=True, slots=True)
class Sight:
    """Lags that a process can act on.

    Attributes:
        began_s: when they were measured, at the earliest, by the process' own clock.
        source: ``board`` or ``kafka``.
    """

    topics: Mapping[str, TopicLag]
    began_s: float
    source: str


class UnknownLags(Exception):
    """Neither the board nor Kafka says how much waits."""


class LagView(ABC):
    """One process' view of the lags.

    Args:
        positions: asks Kafka.
        topics: short names of those that this process needs.
        clock: seconds, monotonic.
        draw: a random number from 0 to 1.
        asks_at_once: whether the first look may ask Kafka, instead of waiting for the board.
    """

    def __init__(
        self,
        positions: PositionReader,
        topics: Collection[str],
        clock: Callable[[], float],
        draw: Callable[[], float] = random.random,
        *,
        asks_at_once: bool = False,
    ) -> None:
        self._positions = positions
        self._topics = topics
        self._clock = clock
        self._draw = draw
        self._own = Measurement()
        self._alone_at_s = clock() if asks_at_once else self._alone_again()

    async def look(self, report: WorkerReport) -> Sight | None:
        """The lags now; ``None`` when it is not time yet for another way to learn them.

        Raises:
            UnknownLags: the board has none that still count, and Kafka cannot be asked.
        """
        sight = await self._read_board(report)
        if sight is not None:
            self._alone_at_s = self._alone_again()
            return sight
        if not self._topics or self._clock() < self._alone_at_s:
            return None
        self._alone_at_s = self._alone_again()
        return await self._ask_kafka(report)

    @abstractmethod
    async def _read_board(self, report: WorkerReport) -> Sight | None:
        """What the board has; ``None`` when it has nothing that still counts."""

    def _fresh(self, lags: Lags | None, began_s: float) -> Sight | None:
        """What was read from the board at ``began_s``, if all that is needed is in it."""
        if lags is None or lags.is_stale:
            return None
        return Sight(lags.topics, began_s - lags.age_s, "board")

    def _alone_again(self) -> float:
        return self._clock() + ALONE_S * (0.5 + self._draw())

    async def _ask_kafka(self, report: WorkerReport) -> Sight:
        began_s = self._clock()
        try:
            async with asyncio.timeout(MEASURE_LIMIT_S):
                positions = await self._positions.read(self._topics)
        except Exception as error:
            raise UnknownLags(f"Kafka cannot be asked for lags: {error!r}") from error
        lags = self._own.lags(positions, [report], self._clock())
        return Sight(lags, began_s, "kafka")
