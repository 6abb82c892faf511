"""A worker's view of the lags, which the worker measures for all others when it is elected."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection
from typing import Final, Protocol

import structlog

from promptmill.flow.board import Turn
from promptmill.flow.lags import Standing, encode_lags
from promptmill.flow.measure import READERS, Measurement, PositionReader
from promptmill.flow.reports import WorkerReport, decode_report, encode_report
from promptmill.flow.view import ALONE_S, MEASURE_LIMIT_S, LagView, Sight
from promptmill.runtime.errors import Unavailable

log = structlog.get_logger(__name__)

LEASE_S: Final = 3.0
"""Seconds after which a lease ends: with a turn each second, a dead holder is replaced in 5 s."""

KEEP_S: Final = 30.0
"""Seconds for which lags stay on the board, so that users can see how old they are."""

PATIENCE_S: Final = 0.8
"""Seconds to wait for a measurement; a slower one continues in the background."""

REST_S: Final = 10.0
"""Seconds for which a worker whose measurement failed does not stand for election."""


class Candidate(Protocol):
    """The part of :class:`~promptmill.flow.board.Election` that is used here."""

    async def turn(self, report: bytes = ..., *, can_measure: bool = ...) -> Turn:
        """Report, stand for election, and read the lags."""

    async def reports(self) -> list[bytes]:
        """Return the latest reports of the live workers."""

    async def publish(self, turn: Turn, payload: bytes) -> bool:
        """Put the lags on the board; return ``False`` if another term has begun."""

    async def resign(self) -> None:
        """Give up the lease."""


class Figures(LagView):
    """One worker's view of the lags, which it measures for all others when it is elected.

    Args:
        identity: the id of this worker.
        candidate: takes part in the election; ``None`` without Redis.
        positions: reads the offsets from Kafka.
        topics: short names of the topics that this worker needs.
        clock: returns monotonic seconds.
        draw: returns a random number from 0 to 1.

    Attributes:
        standing: the state of the election and of the publishers.
    """

    def __init__(
        self,
        identity: str,
        candidate: Candidate | None,
        positions: PositionReader,
        topics: Collection[str],
        clock: Callable[[], float],
        draw: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(positions, topics, clock, draw)
        self._identity = identity
        self._candidate = candidate
        self._term = 0
        self._measuring: asyncio.Task[Sight | None] | None = None
        self._measuring_since_s = 0.0
        self._measurement = Measurement()
        self._rest_until_s = 0.0
        self._is_board_away = False
        self.standing = Standing()

    async def _read_board(self, report: WorkerReport) -> Sight | None:
        """Stand for election; return the lags on the board or those measured by this worker."""
        began_s = self._clock()
        turn = await self._turn(report)
        if turn is None:
            return None
        self.standing.held_publishers = turn.held_publishers
        self.standing.waited_s = turn.waited_s
        self._note_term(turn)
        measured = await self._measured(turn) if turn.is_elected else None
        if measured is not None:
            return measured
        sight = self._fresh(turn.lags, began_s)
        if sight is not None and turn.lags is not None:
            self.standing.term = turn.lags.term
        return sight

    async def close(self) -> None:
        """Withdraw from the election."""
        if self._measuring is not None:
            self._measuring.cancel()
            await asyncio.wait([self._measuring])
        await self._resign()

    async def _resign(self) -> None:
        if self._candidate is not None:
            try:
                await self._candidate.resign()
            except Unavailable as error:
                log.info("lease_not_returned", error=str(error))

    async def _turn(self, report: WorkerReport) -> Turn | None:
        if self._candidate is None:
            return None
        can_measure = self._clock() >= self._rest_until_s
        try:
            turn = await self._candidate.turn(encode_report(report), can_measure=can_measure)
        except Unavailable as error:
            if not self._is_board_away:
                log.warning("lags_board_unavailable", error=str(error), again_in_s=ALONE_S)
            self._is_board_away = True
            self._set_term(0)
            return None
        self._is_board_away = False
        return turn

    def _note_term(self, turn: Turn) -> None:
        if turn.is_elected and turn.term != self._term:
            log.info("lag_reader_elected", term=turn.term)
            self._measurement = Measurement(turn.lags.topics if turn.lags else None)
        self._set_term(turn.term)

    def _set_term(self, term: int) -> None:
        self._term, self.standing.is_reader = term, term > 0

    async def _measured(self, turn: Turn) -> Sight | None:
        """Return the lags that this worker has measured, or ``None`` if that takes longer."""
        if self._measuring is None:
            self._measuring_since_s = self._clock()
            self._measuring = asyncio.create_task(self._measure(turn), name="lags")
        await asyncio.wait([self._measuring], timeout=PATIENCE_S)
        if not self._measuring.done():
            return None
        task, self._measuring = self._measuring, None
        return task.result()

    async def _measure(self, turn: Turn) -> Sight | None:
        try:
            async with asyncio.timeout(MEASURE_LIMIT_S):
                return await self._publish(turn)
        except Exception as error:  # noqa: BLE001 - another worker may be able to
            log.warning("lags_not_measured", error=repr(error), rests_s=REST_S)
            self._set_term(0)
            self._rest_until_s = self._clock() + REST_S * (0.5 + self._draw())
            await self._resign()
            return None

    async def _publish(self, turn: Turn) -> Sight | None:
        """Read the positions, and put the lags on the board unless another term has begun."""
        if self._candidate is None:
            return None
        began_s = self._measuring_since_s
        reports = _decoded(await self._candidate.reports())
        positions = await self._positions.read(READERS)
        lags = self._measurement.lags(positions, reports, self._clock())
        if not await self._candidate.publish(turn, encode_lags(lags, self._identity)):
            log.warning("lags_of_an_older_term_refused", term=turn.term)
            self._set_term(0)
            return None
        self.standing.term = turn.term
        return Sight(lags, began_s, "board")


def _decoded(payloads: Collection[bytes]) -> list[WorkerReport]:
    """Decode the reports that this version understands."""
    reports = []
    for payload in payloads:
        try:
            reports.append(decode_report(payload))
        except ValueError as error:
            log.info("report_unreadable", error=str(error))
    return reports
