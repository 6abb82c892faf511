"""``promptmill report``: the figures of ``stats`` as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptmill.cli.commands.stats import Examples, Prices, RunName

HELP = """Write one HTML page with the figures of stats as charts and tables.

The page holds everything it needs and connects to nothing, so that it can be sent and kept. It
follows the light or dark theme of the browser, and fits a phone. Kafka need not be running. An
existing file is replaced when the new one is complete.

The exit code is 0 on success, 75 if the storage does not answer, and 78 if the store is empty, the
run or the model of a price is unknown, or the file cannot be written.

Examples:

\b
  promptmill report --out report.html
  promptmill report --run first --out first.html --title "First run"
  promptmill report --price my-model=0.15,0.6 --examples 10 --out report.html
"""


def report(
    out: Annotated[Path, typer.Option(help="HTML file to write.")],
    run: RunName = None,
    price: Prices = None,
    examples: Examples = 3,
    title: Annotated[str | None, typer.Option(help="Title of the page.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    from promptmill.cli.output import print_bytes, print_json
    from promptmill.cli.report import write
    from promptmill.cli.settings import load
    from promptmill.report.page.document import render
    from promptmill.report.stats import Wanted, collect
    from promptmill.report.usage import parse_prices

    found = collect(load().store_uri, Wanted(run, parse_prices(price or []), examples))
    named = "promptmill report" if run is None else f"promptmill report of run {run}"
    size = write(out, render(found, title or named))
    if as_json:
        print_json({"out": str(out), "size": size, "records": found.records})
    else:
        print_bytes(f"{found.records:,} records described in {out} ({size:,} bytes)".encode())
