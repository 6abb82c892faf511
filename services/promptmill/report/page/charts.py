"""The charts of the page, as Vega-Lite specifications without colours.

The page sets their widths and the colours of its theme. Foreign texts are data and never part of an
expression.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from promptmill.report.scores import REJECTS, Correlation, Distribution
from promptmill.report.stats import Stats
from promptmill.report.timeline import Timeline

MOST_BARS: Final = 20
LABEL_PIXELS: Final = 120
LEGEND_CHARS: Final = 36
"""The number of characters of names in one line of a legend, which fits a phone."""

ACCEPTED: Final = "accepted"
OUTCOMES: Final = (ACCEPTED, "rejected", "dead", "pending")


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart.

    Attributes:
        section: the section of the page.
        title: the title of the chart.
        spec: the specification in Vega-Lite, without width and configuration.
        wide: whether the chart has the whole width of the page.
    """

    section: str
    title: str
    spec: dict[str, Any]
    wide: bool = False


def charts(stats: Stats) -> tuple[Chart, ...]:
    """Return the charts of all figures that exist."""
    return (
        *_runs(stats),
        *_timeline(stats.timeline),
        *_bars("Decisions", "Rejected prompts by reason", stats.timeline.reasons),
        *_bars("Decisions", "Rejected answers by failed check", stats.timeline.checks),
        *_histograms("Scores", stats.scores),
        *_correlations(stats.correlations),
        *_similarities(stats.duplicates.similarities),
        *_histograms("Lengths and tokens", stats.lengths),
    )


def _runs(stats: Stats) -> Iterator[Chart]:
    values = [
        {"run": run.run, "outcome": outcome, "prompts": getattr(run, outcome), "order": order}
        for run in stats.runs[-MOST_BARS:]
        for order, outcome in enumerate(OUTCOMES)
        if getattr(run, outcome)
    ]
    if values:
        encoding = {
            "y": _names("run", sort=None),
            "x": _quantity("prompts", stack="zero"),
            "color": _colour("outcome", OUTCOMES),
            "order": {"field": "order", "type": "quantitative"},
            "tooltip": _tooltip("run", "outcome", prompts="quantitative"),
        }
        yield Chart("Decisions", "Prompts by run and outcome", _mark("bar", values, encoding), True)


def _timeline(found: Timeline) -> Iterator[Chart]:
    values = [
        {"time": step.start.isoformat(), "decision": decision, "prompts": number}
        for step in found.steps
        for decision, number in ((ACCEPTED, step.accepted), *step.reasons.items())
    ]
    if not values:
        return
    encoding = {
        "x": {
            "field": "time",
            "type": "temporal",
            "timeUnit": _TIME_UNITS[found.unit],
            "title": f"{found.unit} (UTC)",
            "axis": {"labelOverlap": True, "grid": False},
        },
        "y": _quantity("prompts", stack="zero"),
        "color": _colour("decision", (ACCEPTED, *found.reasons)),
        "tooltip": _tooltip("decision", time="temporal", prompts="quantitative"),
    }
    yield Chart("Decisions", "Decisions over time", _mark("bar", values, encoding, 220), True)


_TIME_UNITS: Final = {
    "minute": "utcyearmonthdatehoursminutes",
    "hour": "utcyearmonthdatehours",
    "day": "utcyearmonthdate",
    "week": "utcyearweek",
    "month": "utcyearmonth",
    "year": "utcyear",
}


def _bars(section: str, title: str, numbers: Mapping[str, int]) -> Iterator[Chart]:
    values = [{"name": n, "number": number} for n, number in list(numbers.items())[:MOST_BARS]]
    if values:
        encoding = {
            "y": _names("name", sort=None),
            "x": _quantity("number"),
            "tooltip": _tooltip("name", number="quantitative"),
        }
        yield Chart(section, title, _mark("bar", values, encoding))


def _histograms(section: str, found: Sequence[Distribution]) -> Iterator[Chart]:
    """Yield a chart for each score, with the share of each source's answers in each bin."""
    for name in dict.fromkeys(each.name for each in found):
        same = [each for each in found if each.name == name]
        values = [
            {
                "from": round(each.start + each.width * at, 9),
                "to": round(each.start + each.width * (at + 1), 9),
                "share": number / each.count,
                "answers": each.source,
                "number": number,
            }
            for each in same
            for at, number in enumerate(each.bins)
            if number
        ]
        encoding = {
            "x": {"field": "from", "type": "quantitative", "title": name, "bin": "binned"},
            "x2": {"field": "to"},
            "y": _quantity("share", stack=None, axis={"format": "%", "tickCount": 4}),
            "color": _colour("answers", tuple(each.source for each in same)),
            "tooltip": _tooltip(
                "answers", **{"from": "quantitative", "to": "quantitative"}, number="quantitative"
            ),
        }
        mark = {"type": "bar", "opacity": 0.65 if len(same) > 1 else 1}
        yield Chart(section, name.capitalize(), _mark(mark, values, encoding, 150))


def _correlations(found: Sequence[Correlation]) -> Iterator[Chart]:
    known = [each for each in found if each.value is not None]
    if not known:
        return
    values = [
        {"first": a, "second": b, "value": each.value}
        for each in known
        for a, b in ((each.first, each.second), (each.second, each.first))
    ]
    names = list(dict.fromkeys(name for each in found for name in (each.first, each.second)))
    place = {
        "x": {
            "field": "first",
            "type": "nominal",
            "sort": names,
            "title": None,
            "axis": {"labelAngle": -35},
        },
        "y": {"field": "second", "type": "nominal", "sort": names, "title": None},
    }
    cells = {
        "mark": "rect",
        "encoding": {
            "color": {
                "field": "value",
                "type": "quantitative",
                "scale": {"domain": [-1, 1], "range": "diverging"},
                "legend": None,
            },
            "tooltip": _tooltip("first", "second", value="quantitative"),
        },
    }
    text = {
        "mark": {"type": "text", "fontSize": 11},
        "encoding": {
            "text": {"field": "value", "type": "quantitative", "format": "+.2f"},
            "color": {"condition": {"test": "abs(datum.value) > 0.6", "value": "#ffffff"}},
        },
    }
    spec = {
        "data": {"values": values},
        "encoding": place,
        "layer": [cells, text],
        "height": {"step": 34},
    }
    yield Chart("Scores", "Correlations of accepted answers", spec, True)


def _similarities(found: Mapping[str, int]) -> Iterator[Chart]:
    values = [{"similarity": float(value), "answers": number} for value, number in found.items()]
    if values:
        encoding = {
            "x": {
                "field": "similarity",
                "type": "quantitative",
                "scale": {"domain": [min(each["similarity"] for each in values) - 0.01, 1]},
                "axis": {"format": ".2f", "tickCount": 6},
            },
            "y": _quantity("answers"),
            "tooltip": _tooltip(similarity="quantitative", answers="quantitative"),
        }
        spec = _mark({"type": "bar", "width": 5}, values, encoding, 150)
        yield Chart("Duplicates", "Near duplicates by similarity", spec)


def _mark(
    mark: str | dict[str, Any],
    values: list[dict[str, Any]],
    encoding: dict[str, Any],
    height: int | None = None,
) -> dict[str, Any]:
    """Return a specification with one mark; ``height`` is the height of a horizontal bar."""
    size: Any = {"step": 24} if height is None else height
    return {"data": {"values": values}, "mark": mark, "encoding": encoding, "height": size}


def _names(name: str, sort: Any) -> dict[str, Any]:
    axis = {"labelLimit": LABEL_PIXELS, "title": None, "ticks": False, "domain": False}
    return {"field": name, "type": "nominal", "sort": sort, "axis": axis}


def _quantity(name: str, **more: Any) -> dict[str, Any]:
    axis = more.pop("axis", {"tickCount": 4, "format": "~s", "tickMinStep": 1})
    return {"field": name, "type": "quantitative", "title": None, "axis": axis} | more


def _colour(name: str, values: Sequence[str]) -> dict[str, Any]:
    """Return the encoding of colours by name, without a legend for a single value."""
    range_ = [_PLACES.get(value, at) for at, value in enumerate(values)]
    columns = 4 if sum(map(len, values)) <= LEGEND_CHARS else 2
    legend = {"orient": "top", "title": None, "columns": columns} if len(values) > 1 else None
    return {
        "field": name,
        "type": "nominal",
        "scale": {"domain": list(values), "range": [f"series-{place}" for place in range_]},
        "legend": legend,
    }


_PLACES: Final = {ACCEPTED: 0, REJECTS: 1, "dead": 2, "pending": 3}
"""The indices of outcomes in the page's list of colours."""


def _tooltip(*names: str, **kinds: str) -> list[dict[str, str]]:
    texts = [{"field": name, "type": "nominal"} for name in names]
    return texts + [{"field": name, "type": kind} for name, kind in kinds.items()]
