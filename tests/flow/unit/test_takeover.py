"""The reader of lags is replaced within 5 s of its death, by the lease's own times.

Workers with real figures share a board in memory, on a clock that the test moves. Each looks as its
governor does, at most ``LOOK_S`` and one tick after its last look.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from flow.flow_board import MemoryBoard
from promptmill.flow.figures import LEASE_S, Figures
from promptmill.flow.governor import LOOK_S, TICK_S
from promptmill.flow.lags import STALE_AFTER_S
from promptmill.flow.measure import Positions
from promptmill.flow.reports import WorkerReport
from promptmill.stream.ports import Partition

TAKEOVER_S: Final = 5.0
STEP_S: Final = 0.05
BETWEEN_LOOKS_S: Final = LOOK_S + TICK_S


class Kafka:
    """One partition of records in which nothing moves."""

    async def read(self, topics: object) -> Positions:
        place = Partition("records", 0)
        return Positions({place: (0, 10)}, {"store": {place: 4}})


@dataclass
class Worker:
    """Looks until it dies."""

    figures: Figures
    look_at_s: float
    is_dead: bool = False


class Workers:
    """So many workers of one pipeline, whose first looks are at these seconds."""

    def __init__(self, first_looks_s: list[float]) -> None:
        self.now_s = 1000.0
        self.board = MemoryBoard(lambda: self.now_s)
        self.own = [self._worker(number, at_s) for number, at_s in enumerate(first_looks_s)]

    def _worker(self, number: int, at_s: float) -> Worker:
        candidate = self.board.candidate(str(number), LEASE_S)
        figures = Figures(str(number), candidate, Kafka(), ["records"], lambda: self.now_s)
        return Worker(figures, self.now_s + at_s)

    async def run(self, seconds: float) -> None:
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            self.now_s += STEP_S
            for worker in self.own:
                if not worker.is_dead and self.now_s >= worker.look_at_s:
                    worker.look_at_s = self.now_s + BETWEEN_LOOKS_S
                    await worker.figures.look(WorkerReport("filter"))

    @property
    def reader(self) -> Worker:
        """The one that measures."""
        (found,) = [w for w in self.own if w.figures.standing.is_reader and not w.is_dead]
        return found


offsets = st.floats(0, BETWEEN_LOOKS_S)


@settings(max_examples=20, deadline=None)
@given(st.lists(offsets, min_size=2, max_size=4), st.floats(2, 2 + BETWEEN_LOOKS_S))
async def test_another_worker_measures_within_five_seconds(
    first_looks_s: list[float], dies_after_s: float
) -> None:
    workers = Workers(first_looks_s)
    await workers.run(dies_after_s)
    before = workers.board.lags()
    assert before is not None
    workers.reader.is_dead = True
    died_s = workers.now_s
    while (now := workers.board.lags()) is None or now.term == before.term:
        await workers.run(STEP_S)
        assert workers.now_s <= died_s + TAKEOVER_S
    assert now.term > before.term
    assert now.reader != before.reader


@settings(max_examples=20, deadline=None)
@given(st.lists(offsets, min_size=2, max_size=4))
async def test_nobody_takes_over_from_a_reader_that_lives(first_looks_s: list[float]) -> None:
    workers = Workers(first_looks_s)
    await workers.run(3)
    before = workers.board.lags()
    await workers.run(20)
    after = workers.board.lags()
    assert before is not None
    assert after is not None
    assert (after.term, after.reader) == (before.term, before.reader)
    assert after.age_s <= BETWEEN_LOOKS_S + STEP_S < STALE_AFTER_S
