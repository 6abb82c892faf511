"""``promptmill requeue``: send lost prompts again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

HELP = """Send lost prompts again: those that are published, not settled, and on no topic.

The text comes from the store. If an older version stored a prompt without its text, the text is
taken from the topic of prompts or from the published files, if you give them.

The exit code is 0 if all lost prompts were sent, and 3 if the text of some is unknown.

Examples:

\b
  promptmill requeue --run first --dry-run
  promptmill requeue --run first --yes
  promptmill requeue --run first prompts.jsonl --yes --json
"""


def requeue(
    run: Annotated[str, typer.Option(help="Run name that was given to publish.")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Files that were published before.", exists=True, dir_okay=False),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count the prompts and send nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    from promptmill.cli.requeue import requeue_lost

    if not (yes or dry_run or sys.stdin.isatty()):
        raise typer.BadParameter(
            "confirmation needs a terminal: add --yes, or --dry-run to count only"
        )

    def confirm(prompts: int) -> bool:
        return yes or typer.confirm(f"Send {prompts:,} prompts of run {run} again?", err=True)

    raise typer.Exit(requeue_lost(run, files or (), confirm, dry=dry_run, as_json=as_json))
