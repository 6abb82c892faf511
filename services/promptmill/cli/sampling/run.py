"""The wiring of ``promptmill sample``, which prints rows as JSON, as text, or one by one."""

from __future__ import annotations

import sys

from rich.console import Console

from promptmill.cli.output import note, print_json
from promptmill.cli.sampling.choice import Sample, choose
from promptmill.cli.sampling.view import show
from promptmill.cli.settings import load


def run_sample(sample: Sample, *, full: bool, as_json: bool) -> None:
    """Print a sample. On a terminal, Enter shows the next row, and ``q`` ends.

    Raises:
        Misconfigured: the table or the run does not exist, or the condition is not one.
    """
    rows = choose(load().store_uri, sample)
    if as_json:
        for row in rows:
            print_json(row)
        return
    if not rows:
        note(f"no {sample.kind} match")
        return
    console = Console()
    paged = sys.stdout.isatty() and sys.stdin.isatty()
    for number, row in enumerate(rows, 1):
        show(console, row, f"{number} of {len(rows)}", full=full)
        if paged and number < len(rows) and not _wants_next(console):
            return


def _wants_next(console: Console) -> bool:
    try:
        return console.input("Enter: next, q: quit ", markup=False).strip().lower() != "q"
    except EOFError:
        return False
