"""``promptmill pending``: list prompts without an outcome, and show where they are."""

from __future__ import annotations

from typing import Annotated

import typer

HELP = """List the prompts of a run that are published but not settled, and show where each is.

A pending prompt waits on a topic (prompts, completions, scored, records, rejects, dead-letters)
beyond the committed offset of its consumers. Otherwise it is lost: it is neither on a topic nor in
a table of outcomes. `promptmill requeue` sends lost prompts again.

Examples:

\b
  promptmill pending --run first
  promptmill pending --run first --json --limit 1000
"""


def pending(
    run: Annotated[str, typer.Option(help="Run name that was given to publish.")],
    limit: Annotated[int, typer.Option(min=0, help="Maximum number of prompts to list.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    from promptmill.cli.requeue import show_pending

    show_pending(run, limit, as_json=as_json)
