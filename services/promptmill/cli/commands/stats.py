"""``promptmill stats``: figures about the contents of the tables."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

HELP = """Show figures from the tables: counts, scores, acceptance over time, duplicates, tokens.

Decisions are counted by run, kind, policy, model, grader, category, licence and tag. The five
attributes and the reward are shown with quantiles, a histogram and their correlations. The tokens
of prompts are estimated from their characters; those of answers were counted by the model. Kafka
need not be running.

The exit code is 0 on success, 75 if the storage does not answer, and 78 if the store is empty, or
the run or the model of a price is unknown.

Examples:

\b
  promptmill stats
  promptmill stats --run first
  promptmill stats --price my-model=0.15,0.6 --price other-model=1,4
  promptmill stats --run first --json
"""

RunName: TypeAlias = Annotated[str | None, typer.Option(help="Show only figures of this run.")]
Prices: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        help="MODEL=PROMPT,COMPLETION: prices per million tokens; can be repeated.",
        metavar="MODEL=IN,OUT",
    ),
]
Examples: TypeAlias = Annotated[
    int,
    typer.Option(
        min=0, max=100, help="Number of examples of exact and of near-duplicates to show."
    ),
]
"""The options that ``promptmill report`` has as well."""


def stats(
    run: RunName = None,
    price: Prices = None,
    examples: Examples = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    from promptmill.cli.output import print_json
    from promptmill.cli.settings import load
    from promptmill.cli.stats import show
    from promptmill.report.stats import Wanted, collect
    from promptmill.report.usage import parse_prices

    found = collect(load().store_uri, Wanted(run, parse_prices(price or []), examples))
    if as_json:
        print_json(found)
    else:
        show(found)
