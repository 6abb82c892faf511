"""``promptmill requeue``: lost prompts are sent again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

HELP = """Send again what was published, is not settled, and is on no topic any more.

The text comes from the store. Prompts that an older version stored without it are looked for on the
topic of prompts, then in the files that you give (those that were published).

Exit code 0: all that was lost is sent; 3: the text of some is not known.

Examples:

\b
  promptmill requeue --run first --dry-run
  promptmill requeue --run first --yes
  promptmill requeue --run first prompts.jsonl --yes --json
"""


def requeue(
    run: Annotated[str, typer.Option(help="Name given to publish.")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Files that were published.", exists=True, dir_okay=False),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, send nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    from promptmill.gateway.show_pending import requeue_lost

    if not (yes or dry_run or sys.stdin.isatty()):
        raise typer.BadParameter("nobody can be asked here: add --yes, or --dry-run to count")

    def confirm(prompts: int) -> bool:
        return yes or typer.confirm(f"Send {prompts:,} prompts of run {run} again?", err=True)

    raise typer.Exit(requeue_lost(run, files or (), confirm, dry=dry_run, as_json=as_json))
