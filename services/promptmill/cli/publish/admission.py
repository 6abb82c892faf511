"""Backpressure for publishers: they wait while the topic that they fill has too large a backlog.

Once a second, a publisher reads the lags, as workers do (``flow/view.py``), and asks for its share
of the room below the high-water mark. It sends no more than that before the next reading.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog

from promptmill.flow.lags import Lags, TopicLag
from promptmill.flow.marks import Marks, Pressure
from promptmill.flow.measure import PositionReader
from promptmill.flow.reports import Share, WorkerReport
from promptmill.flow.throttle import Output, Throttle, label
from promptmill.flow.view import ALONE_S, LagView, Sight, UnknownLags
from promptmill.runtime.errors import Unavailable
from promptmill_schemas.topics import PROMPTS

log = structlog.get_logger(__name__)

LOOK_S: Final = 1.0
TRICKLE: Final = 1_000
"""The number of prompts to send per reading while the lags are unknown."""


class HeldBack(Exception):
    """The topic is full, and the caller chose not to wait."""


class Board(Protocol):
    """The part of :class:`~promptmill.flow.board.LagBoard` that a publisher uses."""

    async def read(self) -> Lags | None:
        """Return the latest lags, or ``None`` if they are unknown."""


class Registry(Protocol):
    """The part of :class:`~promptmill.flow.publishers.Publishers` that a publisher uses."""

    async def ask(self, *, is_held: bool = ..., waited_s: float = ...) -> float:
        """Report this publisher's state, and return its share of the room."""


class PublisherView(LagView):
    """The lags as a publisher sees them, and its share of the room.

    Args:
        board, registry: ``None`` without Redis.
        positions: reads the offsets from Kafka.

    Attributes:
        topic: the name of the topic that is filled.
        part: this publisher's share of the room. While Redis is unavailable, the last known share
            is used, because the room is still divided among the same runs.
        is_held, waited_s: what the registry publishes about this publisher.
    """

    def __init__(
        self,
        board: Board | None,
        registry: Registry | None,
        positions: PositionReader,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
        topic: str = PROMPTS.name,
    ) -> None:
        super().__init__(positions, [topic], clock, draw, asks_at_once=True)
        self.topic = topic
        self._board = board
        self._registry = registry
        self._redis_at_s = clock()
        self.part = 1.0
        self.is_held = False
        self.waited_s = 0.0

    async def _read_board(self, report: WorkerReport) -> Sight | None:  # noqa: ARG002 - the board takes none of a publisher
        began_s = self._clock()
        if self._board is None or began_s < self._redis_at_s:
            return None
        try:
            if self._registry is not None:
                asking = self._registry.ask(is_held=self.is_held, waited_s=self.waited_s)
                self.part = await asking
            lags = await self._board.read()
        except Unavailable as error:
            # Lines wait for each reading, so a server that does not answer is not asked every time.
            self._redis_at_s = self._clock() + ALONE_S
            log.info("lags_board_unavailable", error=str(error))
            return None
        sight = self._fresh(lags, began_s)
        return sight if sight is not None and self.topic in sight.topics else None


@dataclass(slots=True)
class Waited:
    """The delay of a publisher by backpressure so far.

    Attributes:
        times: how often the publisher had to wait.
        seconds: how long it waited in total.
    """

    times: int = 0
    seconds: float = 0.0


class Backpressure:
    """The number of prompts that a publisher may send now.

    Args:
        marks: the water marks of the topic that is filled.
        view: the topic's lags.
        show: called each second with the reason for waiting, in words.
        waits: whether to wait for room at all.
        clock: monotonic seconds; the same clock as the view's.

    Attributes:
        waited: how often and how long the publisher has waited.
        held: the reason why it raised :class:`HeldBack`; ``None`` if it did not.
    """

    def __init__(
        self,
        marks: Marks,
        view: PublisherView,
        show: Callable[[str], None],
        *,
        waits: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._marks = marks
        self._view = view
        self._show = show
        self._waits = waits
        self._clock = clock
        self._topic = view.topic
        self._throttle = Throttle({self._topic: Output(marks)}, TRICKLE)
        self._sent = 0
        self._bytes = 0
        self._look_at_s = -1.0
        self._lag: TopicLag | None = None
        self._is_held = False
        self.waited = Waited()
        self.held: dict[str, Any] | None = None

    @property
    def left(self) -> int:
        """The number of prompts that may be sent before the next reading of the lags."""
        return self._throttle.limits[self._topic] - self._sent

    def sent(self, size: int) -> None:
        """Count a prompt of ``size`` bytes that is being sent."""
        self._sent += 1
        self._bytes += size

    async def refresh(self) -> None:
        """Read the lags again if the last reading is at least a second old."""
        if self._clock() >= self._look_at_s:
            await self._look()

    async def wait(self) -> None:
        """Wait until at least one more prompt may be sent.

        Raises:
            HeldBack: the topic is full, and this object was created with ``waits=False``.
        """
        self._throttle.spend(self._topic)
        await self._look()
        if self._is_open():
            return
        if not self._waits:
            self.held = self.as_json()
            raise HeldBack(self.reason)
        self.waited.times += 1
        self._is_held = True
        while not self._is_open():
            self._show(self.reason)
            await self._pause()
            await self._look()
        self._is_held = False

    def _is_open(self) -> bool:
        return self.left > 0 and not self._throttle.reasons

    async def _pause(self) -> None:
        """Sleep until the next reading; an interrupted sleep also counts as waiting."""
        began_s = self._clock()
        try:
            await asyncio.sleep(LOOK_S)
        finally:
            self.waited.seconds += self._clock() - began_s

    # The present state

    @property
    def reason(self) -> str:
        """The reason for waiting, the backlog and the expected duration, in words."""
        figures = self.as_json()
        if "records" not in figures:
            return f"the backlog of {self._topic} is unknown; sending {TRICKLE:,} each second"
        seconds = figures["seconds"]
        how_long = (
            "no progress at present" if seconds is None else f"about {seconds:,.0f} s at this rate"
        )
        return (
            f"{figures['records']:,} {self._topic} wait on the topic (high-water mark "
            f"{figures['high_records']:,}); continues at {figures['goes_on_at']:,} "
            f"{figures['unit']}, {how_long}"
        )

    def as_json(self) -> dict[str, Any]:
        """Return :attr:`reason` as data; ``seconds`` is ``None`` if nothing is being finished."""
        reasons = self._throttle.reasons
        found: dict[str, Any] = {"reason": label(reasons[0]) if reasons else "lags unknown"}
        if (lag := self._lag) is None:
            return found
        unit, level, value = self._goal(lag)
        moves = lag.seconds is not None and value > 0
        return found | {
            "unit": unit,
            "records": lag.records,
            "bytes": lag.bytes,
            "high_records": self._marks.high_records,
            "goes_on_at": level,
            "seconds": round(lag.seconds * max(0, value - level) / value, 1)
            if moves and lag.seconds is not None
            else None,
        }

    def _goal(self, lag: TopicLag) -> tuple[str, int, int]:
        """Return the unit, the level to which the lag must fall, and its present level."""
        for reason in self._throttle.reasons:
            if isinstance(reason, Pressure):
                return reason.unit.value, reason.low, reason.value
        band = self._marks.high_records * (1 - self._marks.low_share)
        return "records", int(self._marks.high_records - band / 4), lag.records

    async def _look(self) -> None:
        now = self._clock()
        self._look_at_s = now + LOOK_S
        self._throttle.note(now, {self._topic: self._sent})
        self._view.is_held, self._view.waited_s = self._is_held, self.waited.seconds
        sizes = {self._topic: Share(self._bytes, self._sent)}
        try:
            sight = await self._view.look(WorkerReport("gateway", sizes=sizes))
        except UnknownLags as error:
            log.info("lags_unknown", error=str(error))
            self._lag = None
            self._throttle.know_nothing()
        else:
            if sight is not None:
                self._learn(sight)

    def _learn(self, sight: Sight) -> None:
        now = self._clock()
        self._lag = sight.topics[self._topic]
        lags = {self._topic: self._lag}
        self._throttle.learn(lags, now, now - sight.began_s, self._view.part)
