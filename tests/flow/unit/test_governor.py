"""The governor holds a running loop, and leaves the loop's own drain alone."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator

import pytest

from promptmill.flow.governor import Governor
from promptmill.flow.lags import Standing, TopicLag
from promptmill.flow.marks import Marks
from promptmill.flow.metrics import FlowMetrics
from promptmill.flow.reports import WorkerReport
from promptmill.flow.throttle import Output, Throttle
from promptmill.flow.view import Sight, UnknownLags
from promptmill.runtime.telemetry.metrics import StageMetrics
from promptmill.stream.pauses import Hold
from support.chaos.loop_brokers import InMemory
from support.streams import ECHOES, Harness, Item, Member
from support.waiting import eventually

MARKS = Marks(20, 10**9, 0.5)


class Clock:
    """Seconds, as a test wants them."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class FakeFigures:
    """What the worker is told, and what it reports."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.records: int | None = 0
        self.tokens: int | None = None
        self.seconds: float | None = 2.5
        self.reports: list[WorkerReport] = []

    async def look(self, report: WorkerReport) -> Sight | None:
        self.reports.append(report)
        if self.records is None:
            raise UnknownLags("nobody knows")
        lag = TopicLag(ECHOES.name, self.records, tokens=self.tokens, seconds=self.seconds)
        lags = {ECHOES.name: lag, "others": TopicLag("others", 3)}
        return Sight(lags, self.clock(), "board")


class Governed:
    """A member in memory with a governor."""

    def __init__(self, harness: Harness, member: Member) -> None:
        self.harness, self.member = harness, member
        self.clock = Clock()
        self.stage = StageMetrics("echo", self.clock)
        self.figures = FakeFigures(self.clock)
        self.standing = Standing(term=1)
        throttle = Throttle({ECHOES.name: Output(MARKS)}, trickle=3)
        self.governor = Governor(
            "echo", "items", "", member.loop, throttle, self.figures, self.stage, self.clock
        )
        self.governor.metrics = FlowMetrics(
            self.stage,
            {ECHOES.name: MARKS},
            lambda: self.governor.age_s,
            self.standing,
        )

    async def look(self, records: int | None) -> None:
        self.figures.records = records
        self.clock.now_s += 1
        self.governor.note()
        await self.governor.look()

    async def emitted(self, count: int) -> None:
        await eventually(lambda: self.member.probe.outcomes["emit"] >= count)

    def sample(self, name: str, **labels: str) -> float | None:
        return self.stage.registry.get_sample_value(name, {"stage": "echo", **labels})


@pytest.fixture
async def governed() -> AsyncIterator[Governed]:
    harness = Harness(InMemory())
    member = await harness.member()
    governed = Governed(harness, member)
    await eventually(member.loop.joined.is_set)
    yield governed
    await harness.close()


async def test_the_loop_is_held_above_the_mark_and_goes_on_at_the_low_one(
    governed: Governed,
) -> None:
    await governed.look(21)
    await governed.harness.publish(*(Item(number=n) for number in [0] for n in range(number, 5)))
    assert "echoes: 21 records wait" in governed.governor.held
    await governed.look(11)
    assert governed.governor.held
    assert governed.member.probe.outcomes["emit"] == 0
    await governed.look(10)
    assert not governed.governor.held
    await governed.emitted(5)


async def test_between_two_looks_no_more_is_written_than_there_is_room(governed: Governed) -> None:
    await governed.look(15)
    await governed.harness.publish(*(Item(number=n) for n in range(100)))
    await governed.emitted(5)
    await eventually(lambda: governed.member.loop.in_flight == 0)
    slots = 8
    assert governed.member.probe.outcomes["emit"] < 5 + slots
    assert governed.governor.held == "echoes: this worker's share of the room is used up"


async def test_without_any_figures_it_goes_on_in_a_trickle(governed: Governed) -> None:
    await governed.harness.publish(*(Item(number=n) for n in range(100)))
    await eventually(lambda: bool(governed.governor.held))
    await eventually(lambda: governed.member.loop.in_flight == 0)
    before = governed.member.probe.outcomes["emit"]
    await governed.look(None)
    await governed.emitted(before + 3)


async def test_a_release_of_the_pressure_does_not_end_a_drain(governed: Governed) -> None:
    pauses = governed.member.loop._pauses
    pauses.hold(Hold.DRAIN)
    governed.member.loop.hold()
    governed.member.loop.release()
    assert pauses.held
    pauses.release(Hold.DRAIN)
    assert not pauses.held


async def test_the_end_of_a_drain_does_not_release_the_pressure(governed: Governed) -> None:
    pauses = governed.member.loop._pauses
    governed.member.loop.hold()
    pauses.hold(Hold.DRAIN)
    pauses.release(Hold.DRAIN)
    assert pauses.held


async def test_sizes_and_finished_work_are_reported(governed: Governed) -> None:
    await governed.look(0)
    await governed.harness.publish(*(Item(number=n) for n in range(8)))
    await governed.emitted(8)
    await eventually(lambda: governed.member.loop.in_flight == 0)
    await governed.look(0)
    report = governed.figures.reports[-1]
    assert report.sizes["items"].records == report.sizes["echoes"].records == 8
    assert report.sizes["items"].mean > 10
    assert sum(report.done.values()) == 8


async def test_the_backlog_is_shown_in_every_unit_beside_its_marks(governed: Governed) -> None:
    governed.figures.tokens = 4_000
    await governed.look(11)
    backlog = {
        name: governed.sample(f"promptmill_topic_{name}", topic="echoes")
        for name in ("records", "tokens", "seconds", "low_records", "low_bytes", "high_bytes")
    }
    assert backlog == {
        "records": 11,
        "tokens": 4_000,
        "seconds": 2.5,
        "low_records": 10,
        "low_bytes": 10**9 / 2,
        "high_bytes": 10**9,
    }
    assert governed.sample("promptmill_topic_records", topic="others") is None
    governed.figures.seconds = None
    await governed.look(11)
    assert governed.sample("promptmill_topic_seconds", topic="echoes") == math.inf


async def test_the_waits_of_publishers_are_counted_from_the_first_look(governed: Governed) -> None:
    """The sum in Redis is older than this worker, and starts again where Redis was emptied."""
    for waited_s in (100.0, 130.0, 0.0, 5.0):
        governed.standing.waited_s = waited_s
        await governed.look(0)
    assert governed.sample("promptmill_publishers_waited_seconds_total") == 35


async def test_held_seconds_are_counted_by_reason(governed: Governed) -> None:
    await governed.look(21)
    await governed.look(21)
    await governed.look(21)
    held = governed.sample("promptmill_held_seconds_total", reason="echoes records")
    assert held is not None
    assert held >= 1
    assert governed.sample("promptmill_held") == 1
    assert governed.sample("promptmill_topic_records", topic="echoes") == 21
    assert governed.sample("promptmill_topic_high_records", topic="echoes") == 20
    assert governed.sample("promptmill_lags_term") == 1
    await governed.look(0)
    await governed.look(0)
    assert governed.sample("promptmill_held") == 0
