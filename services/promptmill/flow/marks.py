"""Water marks: the lags of a topic at which its writers are held and continue.

Every topic between two stages has a high- and a low-water mark, in records and in bytes. A writer
is held when a topic that it writes to is above its high mark, and continues when the topic is at or
below the low mark. Between the marks its state does not change, so that a lag near one of the marks
does not switch a stage on and off.

This module is pure: it computes the present reasons for holding a writer from the earlier ones.
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
    """The unit of a mark."""

    RECORDS = "records"
    BYTES = "bytes"


@dataclass(frozen=True, slots=True)
class Marks:
    """The water marks of one topic.

    Attributes:
        high_records: records above which writers are held.
        high_bytes: the same, in bytes of encoded messages.
        low_share: the ratio of the low marks to the high ones.
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
        """Return the mark above which writers are held."""
        return self.high_records if unit is Unit.RECORDS else self.high_bytes

    def low(self, unit: Unit) -> int:
        """Return the mark at or below which writers continue."""
        return int(self.high(unit) * self.low_share)


@dataclass(frozen=True, slots=True)
class Pressure:
    """A reason to hold a writer: the lag of a topic.

    Attributes:
        topic: short name, without the prefix.
        value: the lag in ``unit``.
        high: the high mark, which the lag was above.
        low: the low mark, to which the lag has to fall.
        seconds: estimated time until the lag is zero; ``None`` if nothing is being finished.
    """

    topic: str
    unit: Unit
    value: int
    high: int
    low: int
    seconds: float | None = None

    @property
    def key(self) -> tuple[str, Unit]:
        """The topic and unit, which identify the reason."""
        return self.topic, self.unit

    @property
    def excess(self) -> int:
        """The amount by which the lag has to fall before writers continue."""
        return max(0, self.value - self.low)

    def __str__(self) -> str:
        name = self.unit.value
        return f"{self.topic}: {self.value} {name} wait, continues at {self.low} (high {self.high})"


def amount(lag: TopicLag, unit: Unit) -> int:
    """Return the lag of the topic in this unit."""
    return lag.records if unit is Unit.RECORDS else lag.bytes


def pressures(
    lags: Mapping[str, TopicLag],
    marks: Mapping[str, Marks],
    before: Iterable[Pressure] = (),
    topics: Collection[str] | None = None,
) -> tuple[Pressure, ...]:
    """Return the present reasons for holding a writer; empty if there are none.

    Args:
        lags: the lags by topic; without the lag of a topic, its earlier reason stays.
        marks: the marks by topic.
        before: the earlier reasons.
        topics: the topics that the worker writes to; by default all topics with marks.
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
    """Return the number of records until the topic is above one of its high marks, at least 0.

    The mark in bytes is converted with the mean size of the waiting records, so the room of an
    empty or unmeasured topic is its mark in records.
    """
    left = marks.high_records - lag.records
    if lag.records > 0 and lag.bytes > 0:
        mean = lag.bytes / lag.records
        left = min(left, int((marks.high_bytes - lag.bytes) / mean))
    return max(0, left)
