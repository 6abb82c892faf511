"""Decisions over time, and the reasons for rejects."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from promptmill.report.scratch import Scratch

MOST_STEPS: Final = 60

_STEPS: Final = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
    "month": timedelta(days=28),
    "year": timedelta(days=365),
}


@dataclass(frozen=True, slots=True)
class Step:
    """The decisions of one step of time.

    Attributes:
        start: the start of the step, in UTC.
        accepted: number of prompts with an accepted answer.
        reasons: numbers of rejected prompts by reason.
    """

    start: datetime
    accepted: int
    reasons: dict[str, int]


@dataclass(frozen=True, slots=True)
class Timeline:
    """Decisions over time.

    Attributes:
        unit: the length of a step: the shortest that results in at most :data:`MOST_STEPS`.
        steps: the steps with decisions, oldest first.
        reasons: numbers of rejected prompts by reason, over all time.
        checks: numbers of rejected answers by the name of each failed check.
    """

    unit: str
    steps: tuple[Step, ...] = ()
    reasons: dict[str, int] = field(default_factory=dict)
    checks: dict[str, int] = field(default_factory=dict)


def timeline(scratch: Scratch) -> Timeline:
    """Count the decisions by time and reason."""
    unit = _unit(scratch)
    return Timeline(
        unit,
        _steps(scratch, unit),
        dict(scratch.rows(f"SELECT reason, count(*) FROM rejects {_BY_NUMBER}")),
        dict(
            scratch.rows(
                "SELECT name, count(*) FROM (SELECT unnest(checks) AS name FROM rejects) "
                f"{_BY_NUMBER}"
            )
        ),
    )


_BY_NUMBER: Final = "GROUP BY ALL ORDER BY count(*) DESC, 1"

_DECISIONS: Final = """
    SELECT created_at, '' AS reason FROM records WHERE ordinal = 0
    UNION ALL SELECT created_at, reason FROM rejects
"""


def _unit(scratch: Scratch) -> str:
    ((first, last),) = scratch.rows(f"SELECT min(created_at), max(created_at) FROM ({_DECISIONS})")
    span = timedelta() if first is None else last - first
    fitting = [unit for unit, step in _STEPS.items() if span / step < MOST_STEPS]
    return fitting[0] if fitting else "year"


def _steps(scratch: Scratch, unit: str) -> tuple[Step, ...]:
    rows = scratch.rows(
        f"""SELECT date_trunc('{unit}', created_at) AS start, reason, count(*)
        FROM ({_DECISIONS}) GROUP BY ALL ORDER BY ALL"""
    )
    counted: dict[datetime, dict[str, int]] = {}
    for start, reason, number in rows:
        counted.setdefault(start, {})[reason] = number
    return tuple(
        Step(start, numbers.pop("", 0), numbers) for start, numbers in sorted(counted.items())
    )
