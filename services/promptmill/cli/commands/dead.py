"""``promptmill dead``: list, show and replay dead letters."""

from __future__ import annotations

from typing import Annotated

import typer

HELP = """List dead letters, show one, or replay them.

Examples:

\b
  promptmill dead list
  promptmill dead list --where run=first --where reason=deadline
  promptmill dead show 0f3c
  promptmill dead replay --where stage=instruct
  promptmill dead replay --all --json
"""

app = typer.Typer(help=HELP, no_args_is_help=True, rich_markup_mode=None)

Where = Annotated[
    list[str] | None,
    typer.Option(
        help="Select by field=value: run, stage, topic, reason, state, prompt_id or letter_id."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(where: Where = None, as_json: Json = False) -> None:
    """List dead letters, one per line."""
    from promptmill.cli.dead_letters import show_list

    show_list(where or (), as_json=as_json)


@app.command()
def show(
    letter: Annotated[str, typer.Argument(help="Id of the dead letter, or its first characters.")],
    as_json: Json = False,
) -> None:
    """Show one dead letter with the original message."""
    from promptmill.cli.dead_letters import show_one

    show_one(letter, as_json=as_json)


@app.command()
def replay(
    where: Where = None,
    every: Annotated[bool, typer.Option("--all", help="Replay all dead letters.")] = False,
    as_json: Json = False,
) -> None:
    """Send the original messages again, to the topics on which they failed."""
    from promptmill.cli.dead_letters import replay_all

    if not where and not every:
        raise typer.BadParameter("select dead letters with --where field=value, or use --all")
    replay_all(where or (), as_json=as_json)
