"""The command line: its commands, and the messages and exit codes of errors.

==========  ==================================================================
exit code   meaning
==========  ==================================================================
0           success
1           failure; standard error gives the reason
2           the command line is invalid
3           ``publish``: some lines are invalid, and the valid ones were published;
            ``requeue``: the text of some prompts is unknown, and the others were sent
4           ``status --wait``: the run was not settled within the limit
5           ``publish --no-wait``: backpressure left no room for the rest
70          the engine has died
75          Kafka, Redis or the store is unavailable; try again later
78          a setting or the environment is wrong
130         interrupted
==========  ==================================================================
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from promptmill.cli.commands import (
    dead,
    doctor,
    down,
    export,
    gaps,
    grade,
    pending,
    publish,
    report,
    requeue,
    run,
    sample,
    schemas,
    stats,
    status,
    tail,
    topics,
    up,
    vacuum,
)
from promptmill.runtime.errors import Fatal, PromptmillError, Transient
from promptmill.runtime.terminal import printable

TRY_AGAIN_LATER = 75  # EX_TEMPFAIL of sysexits.h
FAILED = 1

HELP = """Turn prompts into graded, filtered, de-duplicated training records.

Examples:

\b
  promptmill up                                  start a local Kafka and Redis
  promptmill run --all                           start all workers
  promptmill publish prompts.jsonl --run first   send prompts
  promptmill status --run first --wait 600       wait until every prompt is settled
  promptmill export --run first --format jsonl --out first.jsonl
"""

app = typer.Typer(
    name="promptmill",
    help=HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
COMMANDS = {
    up: "Start a local Kafka and Redis, and create the topics.",
    publish: "Send prompts from a file or a pipe.",
    status: "Count the prompts of a run by outcome.",
    pending: "List prompts without an outcome, and where each is.",
    requeue: "Send lost prompts again.",
    tail: "Show records, rejects or dead letters as they arrive.",
    stats: "Show counts, scores, duplicates and tokens of what is stored.",
    sample: "Show a random sample of records, pairs or rejects.",
    report: "Write the figures of stats as one HTML page with charts.",
    vacuum: "Delete files of the tables that are no longer needed.",
    export: "Write records for a trainer, as JSON lines or Parquet.",
    grade: "Measure a grader against labelled answers.",
    doctor: "Check the installation, and say how to get what is missing.",
    schemas: "Write JSON Schemas and the AsyncAPI document.",
    topics: "Create the topics on your own cluster.",
    down: "Stop the local Kafka and Redis.",
}
for module, summary in COMMANDS.items():
    name = module.__name__.rpartition(".")[2]
    app.command(name, help=module.HELP, short_help=summary)(getattr(module, name))
app.add_typer(dead.app, name="dead", short_help="List dead letters, and replay them.")
app.add_typer(gaps.app, name="gaps", short_help="List lost records, and accept their loss.")
app.add_typer(run.app, name="run", short_help="Run the workers.")


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"promptmill {version('promptmill')}\n")
        raise typer.Exit


@app.callback()
def settings_by_flag(
    home: Annotated[Path | None, typer.Option(help="Folder for data, logs and PID files.")] = None,
    kafka: Annotated[str | None, typer.Option(help="Bootstrap servers, host:port[,…].")] = None,
    redis: Annotated[str | None, typer.Option(help="URL, redis://host:port/db.")] = None,
    store: Annotated[str | None, typer.Option(help="Folder or URI of the Delta tables.")] = None,
    show_version: Annotated[  # noqa: ARG001 - acts by its callback
        bool, typer.Option("--version", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Let flags before the command override PROMPTMILL_HOME, PROMPTMILL_KAFKA and so on."""
    from promptmill.cli.settings import set_flags

    set_flags({"home": home, "kafka": kafka, "redis": redis, "store": store})


def main() -> None:
    """Run the command in ``sys.argv``; a promptmill error ends it with one line."""
    try:
        # Imported here because it loads redis.
        from promptmill.runtime.redis_client import refuse_password_flags

        refuse_password_flags(sys.argv[1:])
        app()
    except PromptmillError as error:
        sys.stderr.write(f"promptmill: {printable(str(error), lines=True)}\n")
        sys.exit(exit_code(error))


def exit_code(error: PromptmillError) -> int:
    """Return the exit code of a process that failed with ``error``."""
    if isinstance(error, Fatal):
        return error.exit_code
    return TRY_AGAIN_LATER if isinstance(error, Transient) else FAILED
