"""Whether a worker may begin new work, decided from the lags of the topics that it writes to.

Marks alone would let a topic grow beyond them by all that is written between two measurements. So
each measurement also gives every writer an allowance: its share of the room below the high mark,
less what it has written since. A writer whose allowance is used up is held until there is room
again, a quarter of the way from the high mark down to the low one, so that it does not go on and
off with every measurement. What a topic holds is then at most its high mark and what was in flight.

Pure: times are arguments.
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
    """One reason to hold: this worker has written all that it was allowed to.

    Attributes:
        topic: short name, without the prefix.
    """

    topic: str

    @property
    def reason(self) -> str:
        """As failures and waits are counted."""
        return f"{self.topic} allowance"

    def __str__(self) -> str:
        return f"{self.topic}: this worker's share of the room is used up"


Reason: TypeAlias = Pressure | Spent


def label(reason: Reason) -> str:
    """The reason in the form in which held seconds are counted."""
    if isinstance(reason, Spent):
        return reason.reason
    return f"{reason.topic} {reason.unit.value}"


@dataclass(frozen=True, slots=True)
class Output:
    """A topic that a worker writes to.

    Attributes:
        stages: that write to it; each has an equal part of its room.
    """

    marks: Marks
    stages: int = 1


class Throttle:
    """The allowances and holds of one worker.

    Args:
        outputs: by short name of the topic.
        trickle: messages that may be written to each topic, for each call of :meth:`know_nothing`.

    Attributes:
        limits: how much of each topic may have been written, counted since the start, before
            :meth:`spend` has to be called.
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
        """What holds the worker; empty when nothing does."""
        known = () if self._is_blind else self._pressures
        named = {pressure.topic for pressure in known}
        return (*known, *(Spent(topic) for topic in sorted(self._spent - named)))

    def note(self, now_s: float, written: Mapping[str, int]) -> None:
        """So much is written by now; noted often, allowances are exact."""
        self._written.append((now_s, dict(written)))
        while len(self._written) > 2 and self._written[1][0] < now_s - REMEMBERED_S:
            self._written.popleft()

    def spend(self, topic: str) -> None:
        """The limit of this topic is reached."""
        self._spent.add(topic)

    def learn(self, lags: Mapping[str, TopicLag], now_s: float, age_s: float, part: float) -> None:
        """Take note of a measurement.

        Args:
            age_s: seconds since it began.
            part: of the stage's work that this worker does, from 0 to 1.
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
        """The lags are unknown: allow a trickle, which is bounded and never stops."""
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
        """What was written at the latest note before this moment, or at the first one known."""
        earlier = (written for at_s, written in reversed(self._written) if at_s <= moment_s)
        return next(earlier, self._written[0][1])


def _has_eased(lag: TopicLag, marks: Marks) -> bool:
    """Whether a quarter of what lies between the marks is free."""
    values = {Unit.RECORDS: lag.records, Unit.BYTES: lag.bytes}
    return all(
        value <= marks.high(unit) - (marks.high(unit) - marks.low(unit)) / 4
        for unit, value in values.items()
    )
