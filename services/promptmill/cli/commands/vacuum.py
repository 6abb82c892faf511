"""``promptmill vacuum``: delete files of the tables that are no longer needed."""

from __future__ import annotations

from typing import Annotated

import typer

HELP = """Delete files that compaction has replaced, or that an interrupted commit has left behind.

A running store does this every hour for files that were replaced a day ago. A reader that opened a
table before a file was replaced still needs the file, and so does an export of an earlier version.

Examples:

\b
  promptmill vacuum --dry-run
  promptmill vacuum --hours 0
"""


def vacuum(
    hours: Annotated[
        int,
        typer.Option(min=0, help="Delete files that were replaced at least this many hours ago."),
    ] = 24,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count the files and delete nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    from promptmill.cli.output import print_bytes, print_json
    from promptmill.cli.settings import load
    from promptmill.lake.vacuum import vacuum as delete_files

    removed = delete_files(load().store_uri, hours, dry_run=dry_run)
    if as_json:
        print_json({str(name): files for name, files in removed.items()})
        return
    done = "would be deleted" if dry_run else "deleted"
    lines = [f"{name}: {len(files):,} files {done}" for name, files in removed.items()]
    print_bytes("\n".join(lines or ["there are no tables yet"]).encode())
