"""``promptmill run``: run one worker, or all four kinds under a supervisor."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from promptmill.cli.supervisor import Report, Spec, Supervisor
from promptmill.runtime.errors import Misconfigured
from promptmill.runtime.terminal import printable

if TYPE_CHECKING:
    from promptmill.runtime.settings import Settings

STAGES = ("instruct", "reward", "filter", "store")

HELP = """Run one worker in this process, or all four kinds of workers under a supervisor.

The options below are for --all. Each worker has its own: see `promptmill run instruct --help`.

Examples:

\b
  promptmill run instruct --model ~/models/nemotron --tensor-parallel 2
  promptmill run reward --model ~/models/reward
  promptmill run filter --help
  promptmill run --all --model ~/models/instruct --reward-model ~/models/reward
  promptmill run --all --engine scripted --instruct-workers 2
"""


app = typer.Typer(
    help=HELP, invoke_without_command=True, rich_markup_mode=None, subcommand_metavar="[WORKER]"
)


@app.callback()
def run(
    context: typer.Context,
    all_stages: Annotated[
        bool, typer.Option("--all", help="Run all four kinds of workers together.")
    ] = False,
    engine: Annotated[
        str, typer.Option(help="Engine that runs the models: vllm, openai or scripted.")
    ] = "vllm",
    model: Annotated[str, typer.Option(help="Instruct model: a folder or a name.")] = "",
    reward_model: Annotated[str, typer.Option(help="Reward model: a folder or a name.")] = "",
    tensor_parallel: Annotated[
        int, typer.Option(min=1, help="Number of ranks of an instruct group.")
    ] = 1,
    instruct_workers: Annotated[int, typer.Option(min=0, help="Number of instruct workers.")] = 1,
    reward_workers: Annotated[int, typer.Option(min=0, help="Number of reward workers.")] = 1,
    filter_workers: Annotated[int, typer.Option(min=0, help="Number of filter workers.")] = 1,
    store_workers: Annotated[int, typer.Option(min=0, help="Number of store workers.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print events as JSON lines.")] = False,
) -> None:
    """Run all four kinds of workers with ``--all``; the options are for that case only."""
    if context.invoked_subcommand is not None:
        if all_stages:
            raise typer.BadParameter("give either the name of one worker or --all, not both")
        return
    if not all_stages:
        raise typer.BadParameter(f"name one of {', '.join(STAGES)}, or use --all")
    from promptmill.cli.settings import load

    counts = dict(
        zip(STAGES, (instruct_workers, reward_workers, filter_workers, store_workers), strict=True)
    )
    flags = {
        "instruct": _flags(engine=engine, model=model, tensor_parallel=tensor_parallel),
        "reward": _flags(engine=engine, model=reward_model),
    }
    settings = load()
    workers = specs(counts, flags, settings.home)
    run_all(settings, workers, report_json if as_json else report_text)


def _add_worker(stage: str, summary: str) -> None:
    """Add a sub-command that passes all flags, ``--help`` included, to the worker."""

    @app.command(
        stage,
        short_help=summary,
        add_help_option=False,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )
    def start(context: typer.Context) -> None:
        run_one(stage, context.args)


_add_worker("instruct", "Answer prompts with a language model.")
_add_worker("reward", "Grade the answers.")
_add_worker("filter", "Apply the policy and drop duplicates.")
_add_worker("store", "Write records, rejects and dead letters to the store.")


def run_one(stage: str, arguments: list[str]) -> None:
    """Replace this process with the worker, so that signals reach the worker itself."""
    from promptmill.cli.addresses import worker_environment
    from promptmill.cli.settings import load

    asked_for_help = {"--help", "-h"} & set(arguments)
    environment = dict(os.environ) if asked_for_help else worker_environment(load())
    os.execve(sys.executable, Spec(stage, stage, arguments).command, environment)  # noqa: S606 - no shell is wanted


def run_all(settings: Settings, workers: list[Spec], report: Report) -> None:
    """Keep all workers alive until SIGTERM or SIGINT."""
    from promptmill.cli.addresses import worker_environment

    if not workers:
        raise Misconfigured("no workers were requested: ask for at least one")
    environment = worker_environment(settings)
    grace_s = max(grace_of(worker.stage) for worker in workers)
    asyncio.run(_supervise(Supervisor(workers, environment, settings.logs, report, grace_s)))


def grace_of(name: str) -> float:
    """Return the seconds that workers of this stage may take to drain, from their settings."""
    from promptmill.stream.stage_settings import StageSettings

    class Stage(StageSettings):
        stage: ClassVar[str] = name

    return Stage().grace_s


async def _supervise(supervisor: Supervisor) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, supervisor.stop)
    await supervisor.run()


def specs(counts: dict[str, int], flags: dict[str, list[str]], home: Path) -> list[Spec]:
    """Return the workers to run; each keeps its group membership when it is restarted.

    The instance id contains host and home folder, because workers of two home folders may share a
    cluster, and members with the same id would fence each other.
    """
    place = f"{socket.gethostname()}-{blake2b(bytes(home), digest_size=4).hexdigest()}"
    return [
        Spec(
            name=f"{stage}-{index}",
            stage=stage,
            arguments=["--instance-id", f"{place}-{stage}-{index}", *flags.get(stage, [])],
        )
        for stage, count in counts.items()
        for index in range(count)
    ]


def _flags(**values: str | int) -> list[str]:
    pairs = ((f"--{name.replace('_', '-')}", str(value)) for name, value in values.items() if value)
    return [part for pair in pairs for part in pair]


def report_text(event: str, worker: str, fields: dict[str, object]) -> None:
    """Print the event as one readable line on standard error."""
    details = " ".join(f"{name}={value}" for name, value in fields.items())
    line = printable(f"{time.strftime('%H:%M:%S')} {event:15} {worker:12} {details}")
    sys.stderr.write(line + "\n")


def report_json(event: str, worker: str, fields: dict[str, object]) -> None:
    """Print the event as one line of JSON on standard output."""
    import orjson

    sys.stdout.write(orjson.dumps({"event": event, "worker": worker, **fields}).decode() + "\n")
    sys.stdout.flush()
