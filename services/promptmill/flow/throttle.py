"""The decision whether a worker may begin new work, from the lags of the topics that it writes to.

With marks alone, a topic could grow beyond its high mark by everything that is written between two
measurements. Each measurement therefore also gives every writer an allowance: its share of the room
below the high mark, less what it has written since. A writer whose allowance is used up is held
until the lag has fallen by a quarter of the way from the high mark to the low mark, so that it is
not switched with every measurement. A topic then holds at most its high mark and what was in
flight.

This module is pure; times are arguments.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from promptmill.flow.lags import TopicLag
from promptmill.flow.marks import Marks, Pressure, Unit, pressures, room

REMEMBERED_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class Spent:
    """A reason to hold a worker: it has used up its allowance.

    Attributes:
        topic: short name, without the prefix.
    """

    topic: str

    @property
    def reason(self) -> str:
        """The label under which this reason is counted."""
        return f"{self.topic} allowance"

    def __str__(self) -> str:
        return f"{self.topic}: this worker's share of the room is used up"


Reason: TypeAlias = Pressure | Spent


def label(reason: Reason) -> str:
    """Return the label under which the held seconds of a reason are counted."""
    if isinstance(reason, Spent):
        return reason.reason
    return f"{reason.topic} {reason.unit.value}"


@dataclass(frozen=True, slots=True)
class Output:
    """A topic that a worker writes to.

    Attributes:
        stages: number of stages that write to it, each with an equal share of its room.
    """

    marks: Marks
    stages: int = 1


class Throttle:
    """The allowances and holds of one worker.

    Args:
        outputs: the topics by short name.
        trickle: messages that each call of :meth:`know_nothing` allows for each topic.

    Attributes:
        limits: number of messages, counted since the start, that may be written to each topic
            before :meth:`spend` has to be called.
    """

    def __init__(self, outputs: Mapping[str, Output], trickle: int) -> None:
        self._outputs = dict(outputs)
        self._marks = {topic: output.marks for topic, output in outputs.items()}
        self._trickle = trickle
        self._pressures: tuple[Pressure, ...] = ()
        self._spent: set[str] = set()
        self._is_blind = False
        self._written: deque[tuple[float, dict[str, int]]] = deque([(-math.inf, {})])
        self.limits: dict[str, int] = dict.fromkeys(outputs, trickle)

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """The reasons why the worker is held; empty if it is not."""
        known = () if self._is_blind else self._pressures
        named = {pressure.topic for pressure in known}
        return (*known, *(Spent(topic) for topic in sorted(self._spent - named)))

    def note(self, now_s: float, written: Mapping[str, int]) -> None:
        """Record the number of written messages; frequent calls make allowances precise."""
        self._written.append((now_s, dict(written)))
        while len(self._written) > 2 and self._written[1][0] < now_s - REMEMBERED_S:
            self._written.popleft()

    def spend(self, topic: str) -> None:
        """Record that the limit of this topic is reached."""
        self._spent.add(topic)

    def learn(self, lags: Mapping[str, TopicLag], now_s: float, age_s: float, part: float) -> None:
        """Update holds and allowances with a measurement.

        Args:
            age_s: seconds since the measurement began.
            part: the share of the stage's work that this worker does, from 0 to 1.
        """
        self._is_blind = False
        self._pressures = pressures(lags, self._marks, self._pressures)
        written = self._written[-1][1]
        earlier = self._written_at(now_s - age_s)
        for topic, output in self._outputs.items():
            if (lag := lags.get(topic)) is not None:
                own = math.ceil(room(lag, output.marks) * part / output.stages)
                now = written.get(topic, 0)
                left = max(0, own - (now - earlier.get(topic, 0)))
                self.limits[topic] = now + left
                self._judge(topic, lag, output, left)

    def know_nothing(self) -> None:
        """Allow a trickle, because the lags are unknown; it is bounded and never stops."""
        self._is_blind = True
        self._spent.clear()
        written = self._written[-1][1]
        for topic in self._outputs:
            self.limits[topic] = written.get(topic, 0) + self._trickle

    def _judge(self, topic: str, lag: TopicLag, output: Output, left: int) -> None:
        if left == 0:
            self._spent.add(topic)
        elif topic in self._spent and _has_eased(lag, output.marks):
            self._spent.discard(topic)

    def _written_at(self, moment_s: float) -> dict[str, int]:
        """Return the counts of the latest note before this moment, or of the earliest note."""
        earlier = (written for at_s, written in reversed(self._written) if at_s <= moment_s)
        return next(earlier, self._written[0][1])


def _has_eased(lag: TopicLag, marks: Marks) -> bool:
    """Return whether the lag is below the high mark by a quarter of the way to the low mark."""
    values = {Unit.RECORDS: lag.records, Unit.BYTES: lag.bytes}
    return all(
        value <= marks.high(unit) - (marks.high(unit) - marks.low(unit)) / 4
        for unit, value in values.items()
    )
