"""``promptmill tail``: show records, rejects or dead letters as they arrive."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

HELP = """Show the last records, rejects or dead letters, and with --follow new ones as they arrive.

Examples:

\b
  promptmill tail
  promptmill tail --run first --follow
  promptmill tail --kind rejects -n 50
  promptmill tail --kind dead --json -n 1
"""


class Kind(StrEnum):
    """Kind of messages that are shown."""

    RECORDS = "records"
    REJECTS = "rejects"
    DEAD = "dead"


def tail(
    run: Annotated[str | None, typer.Option(help="Show only messages of this run.")] = None,
    kind: Annotated[Kind, typer.Option(help="Kind of messages to show.")] = Kind.RECORDS,
    count: Annotated[int, typer.Option("-n", min=0, help="Number of messages to show.")] = 10,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show new messages until Ctrl-C.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print whole messages, one JSON object per line.")
    ] = False,
) -> None:
    from promptmill.cli.tail import show_tail

    show_tail(kind.value, run, count, follow=follow, as_json=as_json)
