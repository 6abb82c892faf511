"""``promptmill pending``: prompts without an outcome, and where they are."""

from __future__ import annotations

from typing import Annotated

import typer

HELP = """List the prompts of a run that are published but not settled, and where each is.

A prompt waits on a topic (prompts, completions, scored, records, rejects, dead-letters) beyond what
its consumers have committed, or it is lost: on none of the topics and in none of the tables of
outcomes. Lost prompts can be sent again with `promptmill requeue`.

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
