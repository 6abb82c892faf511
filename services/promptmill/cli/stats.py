"""The figures of ``promptmill stats`` as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from promptmill.report.counts import Group as Decisions
from promptmill.report.duplicates import Duplicates
from promptmill.report.scores import Correlation, Distribution
from promptmill.report.stats import Stats
from promptmill.report.timeline import Timeline
from promptmill.runtime.terminal import printable

BARS: Final = " ▁▂▃▄▅▆▇█"
MOST_BARS: Final = 10
"""The maximum number of bars of a histogram, so that a table fits into 80 columns."""

LAST_STEPS: Final = 20
"""The number of latest time steps in the table; the JSON document has all."""


def show(stats: Stats, console: Console | None = None) -> None:
    """Print all tables that have rows."""
    console = console or Console()
    for part in _parts(stats):
        console.print(part)


def _parts(stats: Stats) -> Iterator[RenderableType]:
    yield _table(
        "Runs",
        ("run", "published", "accepted", "rejected", "dead", "pending", "accepted %", "records"),
        [
            (
                run.run,
                *map(_count, (run.published, run.accepted, run.rejected, run.dead, run.pending)),
                _share(run.accepted, run.accepted + run.rejected),
                _count(run.records),
            )
            for run in stats.runs
        ],
    )
    for label, groups in stats.groups.items():
        yield from _groups(label, groups)
    yield from _distributions("Scores", stats.scores)
    yield from _correlations(stats.correlations)
    yield from _over_time(stats.timeline)
    yield from _numbers("Dead letters", "stage: reason", stats.dead_letters)
    yield from _duplicates(stats.duplicates)
    yield from _distributions("Lengths", stats.lengths)
    yield from _usage(stats)


def _groups(label: str, groups: Sequence[Decisions]) -> Iterator[RenderableType]:
    head = [label, "records", "accepted", "rejected", "accepted %"]
    rows = [
        [
            group.value or "-",
            *map(_count, (group.records, group.accepted, group.rejected)),
            _percent(group.acceptance),
        ]
        for group in groups
    ]
    shown = 2 if label == "kind" else len(head)  # rejects have no kind
    yield from _unless_empty(f"Decisions by {label}", head[:shown], [row[:shown] for row in rows])


def _distributions(title: str, found: Sequence[Distribution]) -> Iterator[RenderableType]:
    head = ("", "answers", "number", "mean", "min", "median", "max", "histogram")
    rows = [
        (
            d.name,
            d.source,
            _count(d.count),
            *map(_number, (d.mean, d.least, d.quantiles[2], d.greatest)),
            sparkline(d.bins),
        )
        for d in found
    ]
    yield from _unless_empty(title, head, rows)


def _correlations(found: Sequence[Correlation]) -> Iterator[RenderableType]:
    values = {(c.first, c.second): c.value for c in found}
    names = list(dict.fromkeys(name for pair in values for name in pair))
    if all(value is None for value in values.values()):
        return
    rows = [
        (row, *(_coefficient(values, row, column) for column in names[: names.index(row)]))
        for row in names[1:]
    ]
    filled = [(*row, *[""] * (len(names) - len(row))) for row in rows]
    yield _table("Correlations of accepted answers", ("", *names[:-1]), filled)


def _coefficient(values: Mapping[tuple[str, str], float | None], row: str, column: str) -> str:
    value = values.get((column, row))
    return "-" if value is None else f"{round(value, 2) + 0.0:+.2f}"


def _over_time(found: Timeline) -> Iterator[RenderableType]:
    reasons = list(found.reasons)
    rows = [
        (
            f"{step.start:%Y-%m-%d %H:%M}",
            _count(step.accepted),
            *(_count(step.reasons.get(reason, 0)) for reason in reasons),
            _share(step.accepted, step.accepted + sum(step.reasons.values())),
        )
        for step in found.steps[-LAST_STEPS:]
    ]
    head = (f"{found.unit} (UTC)", "accepted", *reasons, "accepted %")
    yield from _unless_empty("Decisions over time", head, rows)
    yield from _numbers("Rejected prompts", "reason", found.reasons)
    yield from _numbers("Rejected answers", "failed check", found.checks)


def _duplicates(found: Duplicates) -> Iterator[RenderableType]:
    if not (found.exact or found.near or found.stored):
        return
    yield _table(
        "Duplicates",
        ("", "number"),
        [
            ("answers rejected as exact duplicates", _count(found.exact)),
            ("answers rejected as near duplicates", _count(found.near)),
            ("records with the same content as another record", _count(found.stored)),
        ],
    )
    for example in found.examples:
        what = "exact" if example.similarity >= 1 else f"similarity {example.similarity:.2f}"
        original = example.original if example.original is not None else "(not in the table)"
        yield Group(
            Text(f"{what}, prompt {example.prompt_id}, record {example.record_id}", style="bold"),
            Text(f"  prompt   {_line(example.prompt)}"),
            Text(f"  answer   {_line(example.answer)}"),
            Text(f"  record   {_line(original)}"),
        )


def _usage(stats: Stats) -> Iterator[RenderableType]:
    rows = [
        (
            each.model,
            _count(each.answers),
            f"≈ {each.prompt_tokens:,}",
            _count(each.completion_tokens),
            "-" if each.cost is None else f"≈ {each.cost:,.4f}",
        )
        for each in stats.usage
    ]
    head = ("model", "answers", "prompt tokens", "completion tokens", "cost")
    yield from _unless_empty("Tokens", head, rows)


def _numbers(title: str, name: str, numbers: Mapping[str, int]) -> Iterator[RenderableType]:
    rows = [(key, _count(number)) for key, number in numbers.items()]
    yield from _unless_empty(title, (name, "number"), rows)


def _unless_empty(
    title: str, head: Sequence[str], rows: Sequence[Sequence[str]]
) -> Iterator[RenderableType]:
    if rows:
        yield _table(title, head, rows)


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE,
        collapse_padding=True,
        pad_edge=False,
        min_width=len(title),
    )
    for position, name in enumerate(head):
        table.add_column(Text(printable(name)), justify="left" if position == 0 else "right")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def sparkline(bins: Sequence[int]) -> str:
    """Draw the bins of a histogram as one line of bars; every bin that is not empty has a bar.

    Neighbouring bins are joined until there are at most :data:`MOST_BARS`.
    """
    joined = -(-len(bins) // MOST_BARS)
    sums = [sum(bins[start : start + joined]) for start in range(0, len(bins), joined or 1)]
    most = max(sums, default=0) or 1
    return "".join(BARS[-(-number * (len(BARS) - 1) // most)] for number in sums)


def _line(text: str) -> str:
    return printable(" ".join(text.split()))


def _count(number: int) -> str:
    return f"{number:,}"


def _number(value: float) -> str:
    return f"{value:,.2f}" if abs(value) < 1_000 else f"{value:,.0f}"


def _share(part: int, whole: int) -> str:
    return _percent(part / whole if whole else None)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"
