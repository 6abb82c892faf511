"""The five attributes and the reward: quantiles, histograms and correlations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from promptmill.report.scratch import Scratch
from promptmill_schemas import ATTRIBUTES

BINS: Final = 20
SAME: Final = 1e-9
"""The relative difference below which values count as equal."""

_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)

RECORDS: Final = "accepted"
REJECTS: Final = "rejected"


@dataclass(frozen=True, slots=True)
class Distribution:
    """The distribution of one number.

    Attributes:
        name: the name of the number.
        source: ``accepted`` for chosen answers, ``rejected`` for all answers of rejected prompts.
        quantiles: the quantiles at 5, 25, 50, 75 and 95 per cent.
        start, width: the start of the histogram's first bin, and the width of each bin.
        bins: the numbers of values; the last bin includes all values above it.
    """

    name: str
    source: str
    count: int
    mean: float
    deviation: float
    least: float
    greatest: float
    quantiles: tuple[float, ...]
    start: float
    width: float
    bins: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Correlation:
    """Pearson's coefficient of two numbers; ``None`` if one of them does not vary."""

    first: str
    second: str
    value: float | None


def distributions(scratch: Scratch) -> tuple[Distribution, ...]:
    """Return the distributions of all attributes and of the reward of accepted answers."""
    found = []
    for name in ATTRIBUTES:
        values = f"unnest(list_transform(scores, lambda s: s.{name}))"
        sources = {
            RECORDS: f"SELECT scores.{name} AS value FROM records",
            REJECTS: f"SELECT {values} AS value FROM rejects",
        }
        found += distribution(scratch, name, sources)
    found += distribution(scratch, "reward", {RECORDS: "SELECT reward AS value FROM records"})
    return tuple(found)


def distribution(scratch: Scratch, name: str, sources: dict[str, str]) -> list[Distribution]:
    """Return the distributions of the values that queries find, all with the same bins.

    Args:
        scratch: the database of the queries.
        name: the name of the number.
        sources: queries with a column ``value``, by the name of the source.
    """
    summaries = {
        source: values
        for source, query in sources.items()
        for values in scratch.rows(_SUMMARY.format(query))
        if values[0]
    }
    if not summaries:
        return []
    start, width = edges(
        min(values[3] for values in summaries.values()),
        min(
            max(values[4] for values in summaries.values()),
            2 * max(values[5][-1] for values in summaries.values()) + 1,
        ),
    )
    return [
        Distribution(
            name,
            source,
            count,
            mean,
            deviation,
            least,
            greatest,
            tuple(quantiles),
            start,
            width,
            _bins(scratch, sources[source], start, width),
        )
        for source, (count, mean, deviation, least, greatest, quantiles) in summaries.items()
    ]


_SUMMARY: Final = """
    SELECT count(value), avg(value), coalesce(stddev_samp(value), 0), min(value)::DOUBLE,
        max(value)::DOUBLE, approx_quantile(value::DOUBLE, [0.05, 0.25, 0.5, 0.75, 0.95])
    FROM ({}) WHERE isfinite(value::DOUBLE)
"""


def _bins(scratch: Scratch, query: str, start: float, width: float) -> tuple[int, ...]:
    counted = scratch.rows(
        f"""SELECT least(floor((value - ?) / ? + 1e-9), ?)::INT AS bin, count(*)
        FROM ({query}) WHERE isfinite(value::DOUBLE) GROUP BY bin""",
        [start, width, BINS - 1],
    )
    bins = [0] * BINS
    for position, number in counted:
        bins[max(0, position)] = number
    return tuple(bins)


def edges(least: float, greatest: float) -> tuple[float, float]:
    """Return the start and the round width of :data:`BINS` bins that contain these values.

    Values that hardly differ get bins as if they were 1 apart.
    """
    if greatest - least <= SAME * max(1.0, abs(least)):
        greatest = least + 1.0
    span = greatest - least
    power = 10.0 ** math.floor(math.log10(span / BINS))
    for step in _STEPS:
        width = step * power
        start = math.floor(least / width) * width
        if start + BINS * width > greatest:
            return round(start, 12), round(width, 12)
    return least, 2 * span / BINS


def correlations(scratch: Scratch) -> tuple[Correlation, ...]:
    """Return the correlations of attributes and reward of accepted answers, each pair once."""
    names: Sequence[str] = (*ATTRIBUTES, "reward")
    columns = {name: f"scores.{name}" for name in ATTRIBUTES} | {"reward": "reward"}
    pairs = list(combinations(names, 2))
    parts = ", ".join(f"corr({columns[a]}, {columns[b]})" for a, b in pairs)
    (values,) = scratch.rows(f"SELECT {parts} FROM records")
    return tuple(
        Correlation(a, b, None if value is None or math.isnan(value) else round(value, 4))
        for (a, b), value in zip(pairs, values, strict=True)
    )
