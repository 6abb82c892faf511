"""How much a publisher may send, by what it can learn about the topic."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from promptmill.cli.publish.admission import TRICKLE, Backpressure, HeldBack, PublisherView
from promptmill.flow.lags import Lags, TopicLag
from promptmill.flow.marks import Marks
from promptmill.flow.measure import Positions
from promptmill.runtime.errors import Unavailable
from promptmill.stream.ports import Partition
from promptmill_schemas.topics import COMPLETIONS, PROMPTS

MARKS = Marks(high_records=1000, low_share=0.5)


class Harness:
    """A board, a registry and a Kafka whose answers the test sets; time passes when it says so."""

    def __init__(self, topic: str = PROMPTS.name) -> None:
        self.topic = topic
        self.now = 100.0
        self.on_board: int | None = 0
        self.in_kafka: int | None = 0
        self.redis_is_away = False
        self.part = 1.0
        self.said: list[str] = []

    def room(self, *, waits: bool = True) -> Backpressure:
        kafka = self._Kafka(self)
        view = PublisherView(self, self, kafka, lambda: self.now, lambda: 0.5, self.topic)
        return Backpressure(MARKS, view, self.said.append, waits=waits, clock=lambda: self.now)

    def _check(self) -> None:
        if self.redis_is_away:
            raise Unavailable("no Redis")

    async def ask(self, *, is_held: bool = False, waited_s: float = 0.0) -> float:
        self._check()
        return self.part

    async def read(self) -> Lags | None:
        self._check()
        if self.on_board is None:
            return None
        lag = TopicLag(self.topic, self.on_board, seconds=100.0)
        return Lags(1, self.now, {self.topic: lag})

    class _Kafka:
        def __init__(self, harness: Harness) -> None:
            self._harness = harness

        async def read(self, topics: Collection[str]) -> Positions:
            assert topics == [self._harness.topic]
            if self._harness.in_kafka is None:
                raise Unavailable("no Kafka")
            return Positions({Partition(self._harness.topic, 0): (0, self._harness.in_kafka)}, {})


def send_all(room: Backpressure) -> int:
    number = 0
    while room.left > 0:
        room.sent(100)
        number += 1
    return number


async def test_no_more_than_the_own_part_of_the_room_is_sent_between_two_looks() -> None:
    harness = Harness()
    harness.on_board, harness.part = 600, 0.25
    room = harness.room()
    await room.refresh()
    assert send_all(room) == 100


async def test_the_room_is_filled_once_however_often_it_is_looked_at() -> None:
    harness = Harness()
    room = harness.room()
    await room.refresh()
    assert send_all(room) == 1000
    await room.refresh()
    assert room.left == 0


@pytest.mark.parametrize("way", ["redis away", "empty board"])
async def test_without_a_board_kafka_is_asked(way: str) -> None:
    harness = Harness()
    harness.redis_is_away, harness.on_board = way == "redis away", None
    harness.in_kafka = 900
    room = harness.room()
    await room.refresh()
    assert send_all(room) == 100


async def test_without_any_figures_a_trickle_is_sent_each_time() -> None:
    harness = Harness()
    harness.redis_is_away, harness.in_kafka = True, None
    room = harness.room()
    for _ in range(3):
        await room.refresh()
        assert send_all(room) == TRICKLE
        await room.refresh()
        assert room.left == 0, "not before it is time to ask again"
        harness.now += 10


async def test_answers_wait_for_room_on_their_own_topic() -> None:
    harness = Harness(COMPLETIONS.name)
    harness.on_board = 1500
    room = harness.room(waits=False)
    await room.refresh()
    with pytest.raises(HeldBack, match="1,500 completions wait on the topic"):
        await room.wait()


async def test_who_does_not_wait_is_told_why() -> None:
    harness = Harness()
    harness.on_board = 1500
    room = harness.room(waits=False)
    await room.refresh()
    with pytest.raises(HeldBack, match="1,500 prompts wait"):
        await room.wait()
    assert room.held == {
        "reason": "prompts records",
        "unit": "records",
        "records": 1500,
        "bytes": 0,
        "high_records": 1000,
        "goes_on_at": 500,
        "seconds": 66.7,
    }


async def test_a_wait_goes_on_to_the_low_mark_and_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = Harness()
    harness.on_board = 1500
    room = harness.room()
    lags = iter([1200, 1000, 501, 500])

    async def pass_time(seconds: float) -> None:
        harness.now += seconds
        harness.on_board = next(lags)

    monkeypatch.setattr(asyncio, "sleep", pass_time)
    await room.refresh()
    await room.wait()
    assert harness.on_board == 500
    assert (room.waited.times, room.waited.seconds) == (1, 4.0)
    assert "continues at 500 records, about 67 s at this rate" in harness.said[0]
