"""``promptmill sample``: show records, pairs and rejects one after the other."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

HELP = """Show a random sample of records, pairs or rejects, with answers side by side.

On a terminal, Enter shows the next one and q ends; elsewhere all are printed. The same seed gives
the same sample, also after compaction. Kafka need not be running.

The exit code is 0 on success, 75 if the storage does not answer, and 78 if the store is empty, the
run is unknown, or --where is not a condition.

Examples:

\b
  promptmill sample
  promptmill sample --kind preference --where "margin < 1" -n 5
  promptmill sample --kind rejects --run first --where "reason = 'duplicate_near'"
  promptmill sample --seed 7 --json
"""


class Kind(StrEnum):
    """The kind of rows to show."""

    RECORDS = "records"
    SFT = "sft"
    PREFERENCE = "preference"
    REJECTS = "rejects"


def sample(
    kind: Annotated[Kind, typer.Option(help="Kind of rows to show.")] = Kind.RECORDS,
    run: Annotated[str | None, typer.Option(help="Show only rows of this run.")] = None,
    where: Annotated[
        str | None, typer.Option(help="SQL condition over the columns of the table.")
    ] = None,
    count: Annotated[
        int, typer.Option("-n", min=1, max=1_000, help="Number of rows to show.")
    ] = 10,
    seed: Annotated[
        int,
        typer.Option(
            min=0, max=2**32, help="Seed of the sample; another seed gives another sample."
        ),
    ] = 0,
    full: Annotated[bool, typer.Option("--full", help="Show long texts in full.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per line.")
    ] = False,
) -> None:
    from promptmill.cli.sampling.choice import Sample
    from promptmill.cli.sampling.run import run_sample

    run_sample(Sample(kind.value, run, where, count, seed), full=full, as_json=as_json)
