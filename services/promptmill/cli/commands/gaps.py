"""``promptmill gaps``: list lost records, and accept their loss."""

from __future__ import annotations

from typing import Annotated

import typer

HELP = """List the records that a stage has lost, and accept their loss.

A stage has lost records when its topic begins beyond the offset that the stage reads next:
retention deleted them before the stage read them. The stage's workers stop (exit code 78) until
the loss is accepted. At their next start they skip exactly the accepted offsets.

Examples:

\b
  promptmill gaps
  promptmill gaps --json
  promptmill gaps accept --topic prompts --partition 3
  promptmill gaps accept --all
"""

app = typer.Typer(help=HELP, rich_markup_mode=None)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]


@app.callback(invoke_without_command=True)
def list_(context: typer.Context, as_json: Json = False) -> None:
    if context.invoked_subcommand is not None:
        return
    from promptmill.cli.gaps import show_gaps

    show_gaps(as_json=as_json)


@app.command()
def accept(
    topic: Annotated[str | None, typer.Option(help="Name of the topic.")] = None,
    partition: Annotated[int | None, typer.Option(min=0, help="Partition of the topic.")] = None,
    stage: Annotated[str | None, typer.Option(help="Accept only losses of this stage.")] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Accept the loss of all records that are lost so far.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Accept that records are lost, so that workers skip their offsets."""
    if (topic is None) != (partition is None) or every == (topic is not None):
        raise typer.BadParameter(
            "select the loss with --topic NAME and --partition NUMBER, or use --all"
        )
    from promptmill.cli.gaps import accept_gaps

    accept_gaps(topic, partition, stage, as_json=as_json)
