"""``promptmill export``: write records from the table to one file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

HELP = """Write the records of one table version to a file, as JSON lines or Parquet.

The file is written completely or not at all. Kafka need not be running.

Examples:

\b
  promptmill export --format jsonl --out records.jsonl
  promptmill export --format parquet --out first.parquet --run first
  promptmill export --format jsonl --out pairs.jsonl --kind preference --json
"""


class Format(StrEnum):
    """Format of the file."""

    JSONL = "jsonl"
    PARQUET = "parquet"


class Kind(StrEnum):
    """Kind of the records."""

    SFT = "sft"
    PREFERENCE = "preference"


def export(
    out: Annotated[Path, typer.Option(dir_okay=False, help="File to write to.")],
    form: Annotated[Format, typer.Option("--format", help="Format of the file.")] = Format.JSONL,
    run: Annotated[str | None, typer.Option(help="Export only records of this run.")] = None,
    kind: Annotated[Kind | None, typer.Option(help="Export only records of this kind.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    from promptmill.cli.export import export_records
    from promptmill.cli.output import print_bytes, print_json
    from promptmill.cli.settings import load

    chosen = None if kind is None else kind.value
    done = export_records(load().store_uri, out, form.value, run=run, kind=chosen)
    if as_json:
        print_json(done.as_json())
        return
    records = "1 record" if done.rows == 1 else f"{done.rows:,} records"
    print_bytes(f"{records} of table version {done.version} written to {out}".encode())
