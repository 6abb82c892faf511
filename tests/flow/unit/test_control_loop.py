"""The control loop in a simulation, on a clock of its own.

A publisher that writes in bursts, instruct workers, graders and a sink pass counts of messages on.
Each worker has the throttle of a real one and sees lags that are up to two seconds old.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

import pytest

from promptmill.flow.lags import TopicLag
from promptmill.flow.marks import Marks, Pressure, Unit, pressures
from promptmill.flow.throttle import Output, Throttle

STEP_S = 0.25
MARKS = Marks(high_records=2_000, high_bytes=10**12, low_share=0.5)
PARTITIONS = 400
SLOTS = 16


@dataclass
class Topic:
    """Counts of messages; the most that ever waited."""

    waiting: int = 0
    most: int = 0

    def add(self, count: int) -> None:
        self.waiting += count
        self.most = max(self.most, self.waiting)


@dataclass
class Member:
    """One worker: takes from a topic, works for a while, writes to the next."""

    throttle: Throttle
    target: str
    rate: float
    look_at_s: float
    partitions: int
    written: int = 0
    busy: list[float] = field(default_factory=list)
    is_held: bool = False
    holds: int = 0

    def finish(self, now_s: float) -> int:
        """What it has finished by now, in flight until then, held or not."""
        done = sum(1 for until in self.busy if until <= now_s)
        self.busy = [until for until in self.busy if until > now_s]
        self.written += done
        if self.written >= self.throttle.limits[self.target] and done:
            self.throttle.spend(self.target)
        self.throttle.note(now_s, {self.target: self.written})
        return done

    def take(self, waiting: int, now_s: float) -> int:
        """What it begins now."""
        held = bool(self.throttle.reasons)
        self.holds += held and not self.is_held
        self.is_held = held
        free = 0 if held else min(SLOTS - len(self.busy), waiting)
        self.busy += [now_s + SLOTS / self.rate * random.uniform(0.5, 1.5) for _ in range(free)]
        return free


class Simulation:
    """Topics by name, the members of each stage, and a reader of lags that looks each second."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.topics = {name: Topic() for name in ("prompts", "completions", "scored", "records")}
        self.stages: dict[str, list[Member]] = {"prompts": [], "completions": [], "scored": []}
        self.boards: list[tuple[float, dict[str, TopicLag]]] = []
        self.sink_rate = 0.0
        self.stored = 0.0
        self.published = 0
        self.burst = 0
        self.is_blind = False
        self.publisher_holds: tuple[Pressure, ...] = ()

    def scale(self, source: str, target: str, count: int, rate: float) -> None:
        """So many members from now on; those that stay keep what they know."""
        own = self.stages[source]
        while len(own) < count:
            throttle = Throttle({target: Output(MARKS)}, trickle=SLOTS)
            look_at_s = self.now_s + random.uniform(0, 1)
            own.append(Member(throttle, target, rate, look_at_s, 0))
        for gone in own[count:]:
            self.topics[source].waiting += len(gone.busy)  # done again by another member
        del own[count:]
        for number, member in enumerate(own):
            member.partitions = len(range(number, PARTITIONS, count))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now_s + seconds
        while self.now_s < until:
            self.now_s += STEP_S
            self._publish()
            for source, members in self.stages.items():
                for member in random.sample(members, len(members)):
                    self.topics[member.target].add(member.finish(self.now_s))
                    topic = self.topics[source]
                    topic.waiting -= member.take(topic.waiting, self.now_s)
            self._store()
            if self.now_s % 1 == 0 and not self.is_blind:
                self._measure()
            self._look()

    def _publish(self) -> None:
        """Bursts of 500, if its mark allows it."""
        figures = self.boards[-1][1] if self.boards else {}
        held = pressures(figures, {"prompts": MARKS}, self.publisher_holds)
        self.publisher_holds = held
        if self.burst and not held and random.random() < 0.2:
            self.topics["prompts"].add(self.burst)
            self.published += self.burst

    def _store(self) -> None:
        records = self.topics["records"]
        self.stored = min(self.stored + self.sink_rate * STEP_S, records.waiting)
        records.waiting -= int(self.stored)
        self.stored -= int(self.stored)

    def _measure(self) -> None:
        """Work in flight has left its topic here, but not Kafka's: it counts."""
        flights = Counter(
            {name: sum(len(m.busy) for m in own) for name, own in self.stages.items()}
        )
        lags = {
            name: TopicLag(name, topic.waiting + flights[name], partitions=PARTITIONS)
            for name, topic in self.topics.items()
        }
        self.boards = [*self.boards[-3:], (self.now_s, lags)]

    def _look(self) -> None:
        for member in (each for own in self.stages.values() for each in own):
            if self.now_s >= member.look_at_s:
                member.look_at_s += 1
                if self.is_blind:
                    member.throttle.know_nothing()
                elif len(self.boards) > 1:
                    at_s, lags = random.choice(self.boards[-2:])
                    part = max(1, member.partitions) / PARTITIONS
                    member.throttle.learn(lags, self.now_s, self.now_s - at_s, part)

    def check_bounds(self, most_members: int, *names: str) -> None:
        """Topics between two stages, or those named, stayed within mark and what was in flight."""
        for name in names or ("completions", "scored", "records"):
            limit = MARKS.high_records + SLOTS * most_members
            assert self.topics[name].most <= limit, (name, self.topics[name].most, limit)


@pytest.fixture(params=[0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))])
def simulation(request: pytest.FixtureRequest) -> Simulation:
    """With two members of each stage, and a publisher that never tires."""
    random.seed(request.param)
    simulation = Simulation()
    simulation.burst = 500
    simulation.sink_rate = 5_000
    simulation.scale("prompts", "completions", 2, rate=400)
    simulation.scale("completions", "scored", 2, rate=400)
    simulation.scale("scored", "records", 2, rate=2_000)
    return simulation


def most_holds(simulation: Simulation) -> int:
    """The most that any member was held, again and again."""
    return max(member.holds for own in simulation.stages.values() for member in own)


def test_a_slow_grader_bounds_what_waits_for_it_and_nothing_flaps(simulation: Simulation) -> None:
    simulation.scale("completions", "scored", 2, rate=20)
    simulation.run(600)
    simulation.check_bounds(2)
    # From the mark for allowances down, a quarter of the band of 1,000 drains at 40 a second.
    assert most_holds(simulation) <= 600 / (250 / 40) + 2
    assert simulation.topics["prompts"].most <= MARKS.high_records + 6 * 500


def test_a_sink_that_stops_holds_every_stage_and_all_go_on_after_it(
    simulation: Simulation,
) -> None:
    simulation.run(30)
    simulation.sink_rate = 0
    simulation.run(300)
    published = simulation.published
    simulation.run(60)
    assert simulation.published == published, "the publisher was not held"
    simulation.check_bounds(2)
    simulation.sink_rate = 5_000
    simulation.run(60)
    assert simulation.published > published
    assert not any(member.is_held for own in simulation.stages.values() for member in own)


def test_a_stage_that_is_scaled_from_1_to_100_stays_within_the_mark(
    simulation: Simulation,
) -> None:
    simulation.sink_rate = 100
    simulation.scale("scored", "records", 1, rate=200)
    simulation.run(60)
    simulation.scale("scored", "records", 100, rate=200)
    simulation.run(300)
    simulation.check_bounds(100)
    working = [member for member in simulation.stages["scored"] if member.written]
    assert len(working) == 100, "some never got to work"
    simulation.scale("scored", "records", 1, rate=200)
    before = simulation.stages["scored"][0].written
    simulation.run(120)
    assert simulation.stages["scored"][0].written > before, "the one that is left starves"


def test_a_large_backlog_that_meets_100_workers_at_once_stays_within_the_mark(
    simulation: Simulation,
) -> None:
    simulation.sink_rate = 100
    simulation.topics["scored"].add(200_000)
    simulation.scale("scored", "records", 100, rate=200)
    simulation.run(300)
    simulation.check_bounds(100, "records")
    assert min(member.written for member in simulation.stages["scored"]) > 0


def test_the_throughput_is_that_of_the_slowest_stage(simulation: Simulation) -> None:
    simulation.sink_rate = 100
    simulation.run(120)
    written = sum(member.written for member in simulation.stages["scored"])
    simulation.run(300)
    passed = sum(member.written for member in simulation.stages["scored"]) - written
    assert passed >= 0.95 * 300 * 100 - (MARKS.high_records - MARKS.low(Unit.RECORDS))


def test_without_any_lags_there_is_a_trickle_and_no_more(simulation: Simulation) -> None:
    simulation.run(10)
    simulation.is_blind = True
    before = sum(member.written for member in simulation.stages["scored"])
    simulation.run(100)
    passed = sum(member.written for member in simulation.stages["scored"]) - before
    members = len(simulation.stages["scored"])
    assert 0 < passed <= members * 102 * 2 * SLOTS
