"""Where a worker has its lags from, whatever fails."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field

import pytest

from promptmill.flow.board import Turn
from promptmill.flow.figures import REST_S, Figures
from promptmill.flow.lags import STALE_AFTER_S, Lags, TopicLag, decode_lags
from promptmill.flow.measure import Positions
from promptmill.flow.reports import WorkerReport
from promptmill.flow.view import ALONE_S, Sight, UnknownLags
from promptmill.runtime.errors import Unavailable
from promptmill.stream.ports import Partition

REPORT = WorkerReport("filter")


@dataclass
class FakeBoard:
    """A candidate whose answers a test holds in its hands."""

    term: int = 0
    lags: Lags | None = None
    fails: bool = False
    refuses: bool = False
    written: list[bytes] = field(default_factory=list)
    stood: list[bool] = field(default_factory=list)
    resigned: int = 0

    async def turn(self, report: bytes = b"", *, can_measure: bool = True) -> Turn:
        if self.fails:
            raise Unavailable("gone")
        self.stood.append(can_measure)
        return Turn(self.term if can_measure else 0, 1_000, self.lags)

    async def reports(self) -> list[bytes]:
        return [b"?"]

    async def publish(self, turn: Turn, payload: bytes) -> bool:
        if not self.refuses:
            self.written.append(payload)
        return not self.refuses

    async def resign(self) -> None:
        self.resigned += 1


@dataclass
class FakeKafka:
    """Ten messages of which four are committed."""

    fails: bool = False
    asked: list[frozenset[str]] = field(default_factory=list)
    answers: asyncio.Event | None = None

    async def read(self, topics: Collection[str]) -> Positions:
        self.asked.append(frozenset(topics))
        if self.answers is not None:
            await self.answers.wait()
        if self.fails:
            raise Unavailable("no broker")
        place = Partition("records", 0)
        return Positions({place: (0, 10)}, {"store": {place: 4}})


class Harness:
    """One worker's figures on a clock of its own."""

    def __init__(self, board: FakeBoard | None = None) -> None:
        self.now_s = 100.0
        self.board = board or FakeBoard()
        self.kafka = FakeKafka()
        self.figures = Figures(
            "me", self.board, self.kafka, ["records"], lambda: self.now_s, lambda: 0.5
        )

    async def look(self, after_s: float = 0.0) -> Sight | None:
        self.now_s += after_s
        return await self.figures.look(REPORT)


def on_the_board(age_s: float = 1.0) -> Lags:
    return Lags(7, 0.0, {"records": TopicLag("records", 5)}, age_s)


async def test_the_board_is_read_with_the_time_of_its_measurement() -> None:
    harness = Harness(FakeBoard(lags=on_the_board()))
    sight = await harness.look()
    assert sight == Sight({"records": TopicLag("records", 5)}, 99.0, "board")
    assert harness.figures.standing.term == 7
    assert harness.kafka.asked == []


async def test_the_elected_worker_measures_all_topics_and_publishes() -> None:
    harness = Harness(FakeBoard(term=3))
    sight = await harness.look()
    assert sight is not None
    assert sight.topics["records"].records == 6
    assert harness.figures.standing.is_reader
    (payload,) = harness.board.written
    assert decode_lags(3, 0, 0, payload).topics == sight.topics
    assert harness.kafka.asked[0] >= {"prompts", "completions", "scored", "records", "rejects"}


async def test_a_refused_measurement_is_not_acted_on() -> None:
    harness = Harness(FakeBoard(term=3, refuses=True, lags=on_the_board()))
    sight = await harness.look()
    assert sight is not None
    assert sight.topics["records"].records == 5, "the newer term's figures count"
    assert not harness.figures.standing.is_reader


async def test_one_who_cannot_measure_leaves_it_to_others_for_a_while() -> None:
    harness = Harness(FakeBoard(term=3))
    harness.kafka.fails = True
    assert await harness.look() is None
    assert harness.board.resigned == 1
    await harness.look(after_s=1)
    assert harness.board.stood == [True, False]
    harness.kafka.fails = False
    assert await harness.look(after_s=REST_S)
    assert harness.board.stood[-1]


async def test_a_slow_measurement_goes_on_beside_the_looks_and_keeps_the_lease() -> None:
    harness = Harness(FakeBoard(term=3, lags=on_the_board()))
    harness.kafka.answers = asyncio.Event()
    sight = await harness.look()
    assert sight is not None
    assert sight.topics["records"].records == 5, "what stands on the board counts meanwhile"
    harness.kafka.answers.set()
    sight = await harness.look(after_s=1)
    assert sight is not None
    assert (sight.topics["records"].records, sight.began_s) == (6, 100.0)
    assert len(harness.kafka.asked) == 1
    assert harness.board.resigned == 0


@pytest.mark.parametrize("board", [FakeBoard(fails=True), FakeBoard()])
async def test_without_a_board_kafka_is_asked_less_often(board: FakeBoard) -> None:
    harness = Harness(board)
    assert await harness.look() is None, "it waits for the board first"
    sight = await harness.look(after_s=ALONE_S)
    assert sight is not None
    assert (sight.source, sight.topics["records"].records) == ("kafka", 6)
    assert await harness.look(after_s=1) is None
    for _ in range(20):
        await harness.look(after_s=1)
    assert len(harness.kafka.asked) == 1 + 21 // ALONE_S


async def test_figures_that_are_stale_do_not_count() -> None:
    harness = Harness(FakeBoard(lags=on_the_board(STALE_AFTER_S + 1)))
    assert await harness.look() is None
    sight = await harness.look(after_s=ALONE_S)
    assert sight is not None
    assert sight.source == "kafka"


async def test_when_nobody_knows_it_says_so_each_time_it_has_asked() -> None:
    harness = Harness(FakeBoard(fails=True))
    harness.kafka.fails = True
    for _ in range(3):
        with pytest.raises(UnknownLags):
            await harness.look(after_s=ALONE_S)
        assert await harness.look(after_s=1) is None


async def test_a_board_that_is_back_is_believed_at_once() -> None:
    harness = Harness(FakeBoard(fails=True))
    await harness.look(after_s=ALONE_S)
    harness.board.fails, harness.board.lags = False, on_the_board()
    sight = await harness.look(after_s=1)
    assert sight is not None
    assert sight.source == "board"
