"""``promptmill status``: count the prompts of a run by outcome."""

from __future__ import annotations

from typing import Annotated

import typer

HELP = """Show how many prompts of a run are published, accepted, rejected, dead and pending.

With --wait the command returns as soon as every prompt is settled (exit code 0), or when the
time limit has passed (exit code 4). The workers report the columns in_flight and rate; the lag is
read from Kafka.

Examples:

\b
  promptmill status --run first
  promptmill status --run first --json
  promptmill status --run first --wait 600
"""


def status(
    run: Annotated[str, typer.Option(help="Run name that was given to publish.")],
    wait: Annotated[
        float | None,
        typer.Option(
            min=0, help="Maximum number of seconds to wait until every prompt is settled."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    from promptmill.cli.status import show_status

    raise typer.Exit(show_status(run, wait, as_json=as_json))
