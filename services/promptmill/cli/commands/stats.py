"""``promptmill stats``: figures about what is in the tables."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

HELP = """Show what is in the tables: counts, scores, acceptance over time, duplicates and tokens.

Decisions are counted by run, kind, policy, model, grader, category, licence and tag. The five
attributes and the reward come with quantiles, a histogram and their correlations. Tokens of prompts
are estimated from their characters; those of answers are as the model counted them. Kafka need not
be running.

Exit codes: 0 success, 78 the store is empty, or the run or the model of a price is unknown, 75 the
storage does not answer.

Examples:

\b
  promptmill stats
  promptmill stats --run first
  promptmill stats --price my-model=0.15,0.6 --price other-model=1,4
  promptmill stats --run first --json
"""

RunName: TypeAlias = Annotated[str | None, typer.Option(help="Only figures of this run.")]
Prices: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        help="MODEL=PROMPT,COMPLETION: prices of a million tokens; may be repeated.",
        metavar="MODEL=IN,OUT",
    ),
]
Examples: TypeAlias = Annotated[
    int, typer.Option(min=0, max=100, help="Examples of exact and of near duplicates.")
]
"""Options that ``promptmill report`` has too."""


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
