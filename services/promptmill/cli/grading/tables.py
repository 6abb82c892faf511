"""Text tables of a grader's figures."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from promptmill.cli.output import is_watched, note

EVERY = 16


def tell(done: int, total: int) -> None:
    """Show the progress in one line of the terminal, which is overwritten each time."""
    if is_watched() and (done % EVERY == 0 or done == total):
        end = "\n" if done == total else ""
        sys.stderr.write(f"\r{done:,} of {total:,} answers graded{end}")
        sys.stderr.flush()


def show_failures(figures: dict[str, Any]) -> None:
    """Report the first rows that could not be read or graded on standard error."""
    shown = figures["failures"]
    for failure in shown:
        file = f"{failure['file']} " if "file" in failure else ""
        note(f"{file}row {failure['row']}: {failure['error']}")
    if more := figures["bad_rows"] + figures["ungraded"] - len(shown):
        note(f"… and {more:,} more rows")


def figures_table(figures: dict[str, Any]) -> str:
    """Format the figures as tables, and mention the rows that they do not include."""
    table = helpsteer2_table if "attributes" in figures else rewardbench_table
    lines = [table(figures)]
    if figures["bad_rows"]:
        lines.append(f"{figures['bad_rows']:,} rows could not be read and are not included")
    if figures["no_preference"]:
        lines.append(f"{figures['no_preference']:,} pairs without a preference are not included")
    return "\n".join(lines)


def rewardbench_table(figures: dict[str, Any]) -> str:
    """Format the tables of subsets and sections, and the score."""
    rows = [("subset", "accuracy", "pairs")]
    rows += [
        (name, _percent(row["accuracy"]), f"{row['pairs']:,}")
        for name, row in figures["subsets"].items()
    ]
    sections = [("section", "accuracy")]
    sections += [(name, _percent(value)) for name, value in figures["sections"].items()]
    summary = (
        f"score {_percent(figures['score'])} (mean of the sections), "
        f"{_percent(figures['accuracy'])} of {figures['pairs']:,} pairs; "
        f"{figures['ties']:,} ties and {figures['ungraded']:,} ungraded count as wrong"
    )
    return "\n".join([*_aligned(rows), "", *_aligned(sections), "", summary])


def helpsteer2_table(figures: dict[str, Any]) -> str:
    """Format the table of attributes."""
    rows = [("attribute", "MAE", "Pearson", "Spearman", "calibration", "calibrated MAE")]
    for name, row in figures["attributes"].items():
        line = row["calibration"]
        formula = "-" if line is None else f"{line['slope']:.3f} x {line['intercept']:+.3f}"
        values = (row["mae"], row["pearson"], row["spearman"])
        rows.append((name, *map(_number, values), formula, _number(row.get("mae_calibrated"))))
    note = f"{figures['rows']:,} rows, {figures['ungraded']:,} of them ungraded"
    return "\n".join([*_aligned(rows), "", note])


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
