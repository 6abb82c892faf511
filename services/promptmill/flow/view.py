"""Reading the lags from the board or, if that is not possible, from Kafka.

Workers and publishers use the lags on the board while they are fresh. Otherwise each process
measures the lags in Kafka every 2.5 to 7.5 s, so that not all processes do it at the same time. If
that also fails, the caller allows a trickle, which is bounded and never stops.
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
"""Seconds after which a measurement is aborted."""

ALONE_S: Final = 5.0
"""Seconds, ± 50 %, between two measurements of a process without the board."""


@dataclass(frozen=True, slots=True)
class Sight:
    """Lags that a process can use.

    Attributes:
        began_s: the earliest time of their measurement, by the clock of the process.
        source: ``board`` or ``kafka``.
    """

    topics: Mapping[str, TopicLag]
    began_s: float
    source: str


class UnknownLags(Exception):
    """The lags are neither on the board nor can they be measured in Kafka."""


class LagView(ABC):
    """One process' view of the lags.

    Args:
        positions: reads the offsets from Kafka.
        topics: short names of the topics that this process needs.
        clock: returns monotonic seconds.
        draw: returns a random number from 0 to 1.
        asks_at_once: whether the first call may use Kafka, instead of waiting for the board.
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
        """Return the current lags, or ``None`` if it is too early for another measurement.

        Raises:
            UnknownLags: the board has no fresh lags, and Kafka does not answer.
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
        """Return the lags on the board, or ``None`` if they are missing or stale."""

    def _fresh(self, lags: Lags | None, began_s: float) -> Sight | None:
        """Return lags that were read at ``began_s``, if they are fresh and complete."""
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
            raise UnknownLags(f"the lags cannot be read from Kafka: {error!r}") from error
        lags = self._own.lags(positions, [report], self._clock())
        return Sight(lags, began_s, "kafka")
