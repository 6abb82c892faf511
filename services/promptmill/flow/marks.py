"""Water marks: how much may wait on a topic before those who write to it are held.

Every topic between two stages has a high- and a low-water mark, in records and in bytes. A writer
is held when a topic that it writes to is above its high mark, and goes on once the topic is at or
below the low one. Between the two it stays as it was, so that a lag which hovers about a mark
does not switch a stage on and off.

This is pure: what held a writer before goes in, what holds it now comes out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from promptmill.flow.lags import TopicLag
from promptmill.runtime.errors import Misconfigured

MIB: Final = 1024 * 1024


class Unit(Enum):
    """What a mark counts."""

    RECORDS = "records"
    BYTES = "bytes"


@dataclass(frozen=True, slots=True)
class Marks:
    """The water marks of one topic.

    Attributes:
        high_records: records above which writers are held.
        high_bytes: the same, in bytes of encoded messages.
        low_share: the low marks, as a share of the high ones.
    """

    high_records: int = 50_000
    high_bytes: int = 1024 * MIB
    low_share: float = 0.5

    def __post_init__(self) -> None:
        for name in ("high_records", "high_bytes"):
            if getattr(self, name) < 1:
                raise Misconfigured(f"{name} is {getattr(self, name)}: at least 1 is needed")
        if not 0 <= self.low_share < 1:
            raise Misconfigured(
                f"low_share is {self.low_share}: a share of the high mark, from 0 to below 1"
            )

    def high(self, unit: Unit) -> int:
        """Above this, writers are held."""
        return self.high_records if unit is Unit.RECORDS else self.high_bytes

    def low(self, unit: Unit) -> int:
        """At this or below, they go on."""
        return int(self.high(unit) * self.low_share)


@dataclass(frozen=True, slots=True)
class Pressure:
    """One reason to hold: so much waits on a topic.

    Attributes:
        topic: short name, without the prefix.
        value: what waits, in ``unit``.
        high: the mark that it was above.
        low: what it has to fall to.
        seconds: until it has fallen to zero at the present rate; ``None`` when nothing moves.
    """

    topic: str
    unit: Unit
    value: int
    high: int
    low: int
    seconds: float | None = None

    @property
    def key(self) -> tuple[str, Unit]:
        """What tells it from the other reasons."""
        return self.topic, self.unit

    @property
    def excess(self) -> int:
        """How much has to go before the writers go on."""
        return max(0, self.value - self.low)

    def __str__(self) -> str:
        name = self.unit.value
        return f"{self.topic}: {self.value} {name} wait, goes on at {self.low} (high {self.high})"


def amount(lag: TopicLag, unit: Unit) -> int:
    """What waits on the topic, in this unit."""
    return lag.records if unit is Unit.RECORDS else lag.bytes


def pressures(
    lags: Mapping[str, TopicLag],
    marks: Mapping[str, Marks],
    before: Iterable[Pressure] = (),
    topics: Collection[str] | None = None,
) -> tuple[Pressure, ...]:
    """What holds a writer now; empty when nothing does.

    Args:
        lags: by topic; one that is missing neither holds nor releases: a reason that it had
            before stays.
        marks: by topic.
        before: what held the writer until now.
        topics: those that it writes to; all that have marks when not given.
    """
    held = {pressure.key: pressure for pressure in before}
    wanted = marks.keys() if topics is None else topics
    found = (
        _judge(name, unit, lags.get(name), marks[name], held)
        for name in wanted
        for unit in Unit
        if name in marks
    )
    return tuple(pressure for pressure in found if pressure is not None)


def _judge(
    name: str,
    unit: Unit,
    lag: TopicLag | None,
    marks: Marks,
    held: Mapping[tuple[str, Unit], Pressure],
) -> Pressure | None:
    earlier = held.get((name, unit))
    if lag is None:
        return earlier
    value, high, low = amount(lag, unit), marks.high(unit), marks.low(unit)
    if value <= (high if earlier is None else low):
        return None
    return Pressure(name, unit, value, high, low, lag.seconds)


def room(lag: TopicLag, marks: Marks) -> int:
    """Records that the topic takes before it is above one of its high marks; never below 0.

    Bytes count at the mean size of what waits, so an empty or unmeasured topic has room for as
    many records as its mark says.
    """
    left = marks.high_records - lag.records
    if lag.records > 0 and lag.bytes > 0:
        mean = lag.bytes / lag.records
        left = min(left, int((marks.high_bytes - lag.bytes) / mean))
    return max(0, left)
