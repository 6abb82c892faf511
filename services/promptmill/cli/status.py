"""The wiring of ``status``, and its readable output."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from promptmill.cli.addresses import find_addresses
from promptmill.cli.output import is_watched, print_bytes, print_json, quiet_logs
from promptmill.cli.run_status import RunStatus, StageStatus, StatusReader
from promptmill.cli.settings import load
from promptmill.cli.store_counts import open_counts
from promptmill.cli.waiting import wait_until_settled
from promptmill.flow.marks import MIB
from promptmill.kafka.log_reader import LogReader
from promptmill.runtime.terminal import printable

CLIENT = "promptmill-status"
NOT_SETTLED = 4


def show_status(run: str, wait_s: float | None, *, as_json: bool) -> int:
    """Print the state of ``run``, and return the exit code.

    Raises:
        Misconfigured: no Kafka is configured, or a topic is missing.
        Unavailable: Kafka or the store does not answer.
    """
    quiet_logs()
    status = asyncio.run(_read(run, wait_s))
    if as_json:
        print_json(status.as_json())
    else:
        print_bytes(verdict(status).encode())
        console = Console()
        console.print(as_table(status), topics_table(status))
        for line in (*trouble_lines(status), *held_lines(status), *idle_lines(status)):
            console.print(printable(line), markup=False)
    return NOT_SETTLED if wait_s is not None and not status.settled else 0


async def _read(run: str, wait_s: float | None) -> RunStatus:
    settings = load()
    addresses = find_addresses(settings)
    counts = open_counts(addresses.store)
    async with LogReader(addresses.kafka, client_id=CLIENT) as reader:
        status = StatusReader(settings, addresses, counts, reader, run)
        if wait_s is None:
            return await status.read()
        with _progress(run) as show:
            return await wait_until_settled(status.read, wait_s, show)


@contextmanager
def _progress(run: str) -> Iterator[Callable[[RunStatus], None]]:
    if not is_watched():
        yield lambda _status: None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} settled"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(printable(run), total=0)
        yield lambda status: bar.update(
            task, total=status.published, completed=status.published - status.pending
        )


def as_table(status: RunStatus) -> Table:
    """Return a table with one row per stage."""
    table = Table()
    for name in ("", "lag", "workers", "partitions", "in flight", "rate /s", "schema"):
        table.add_column(name, justify="left" if not name else "right")
    for name, stage in status.stages.items():
        table.add_row(name, *_cells(stage))
    return table


def _cells(stage: StageStatus) -> list[str]:
    values = (stage.lag, stage.workers, stage.partitions, stage.in_flight, stage.rate)
    lag, workers, *rest = ("?" if value is None else f"{value:,}" for value in values)
    if stage.idle:
        workers += f" ({len(stage.idle)} idle)"
    versions = stage.schema_versions
    schema = "?" if versions is None else ", ".join(map(str, versions))
    return [lag, workers, *rest, schema]


def topics_table(status: RunStatus) -> Table:
    """Return a table with the backlog and the water marks of each topic."""
    table = Table()
    columns = ("records", "high", "low", "MiB", "high", "low", "tokens", "seconds left")
    for name in ("topic", *columns):
        table.add_column(name, justify="left" if name == "topic" else "right")
    for name, topic in status.topics.items():
        sizes = (topic.bytes, topic.high_bytes, topic.low_bytes)
        table.add_row(
            name,
            *(_number(n) for n in (topic.records, topic.high_records, topic.low_records)),
            *("?" if n is None else f"{n / MIB:,.1f}" for n in sizes),
            "" if topic.tokens is None else f"{topic.tokens:,}",
            "" if topic.seconds is None else f"{topic.seconds:,.0f}",
        )
    return table


def trouble_lines(status: RunStatus) -> list[str]:
    """Return a line for each reason why a stage cannot complete any message."""
    return [
        f"{name} cannot work: {reason}"
        for name, stage in status.stages.items()
        for reason in stage.troubles or ()
    ]


def held_lines(status: RunStatus) -> list[str]:
    """Return a line for each reason why backpressure holds a stage or a publisher."""
    stages = [
        f"{name} is held: {reason}"
        for name, stage in status.stages.items()
        for reason in stage.held or ()
    ]
    return stages + [
        f"publish --run {run} is held ({number} waiting, "
        f"{status.publishers_waited_s.get(run, 0.0):,.0f} s in all): "
        "prompts: no room on the topic"
        for run, number in sorted(status.held_publishers.items())
    ]


def idle_lines(status: RunStatus) -> list[str]:
    """Return a line for each stage with workers that hold no partition, with the remedy."""
    return [
        f"{name} has workers without a partition, which receive nothing: {', '.join(stage.idle)}; "
        "run no more workers than the topic has partitions"
        for name, stage in status.stages.items()
        if stage.idle
    ]


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def verdict(status: RunStatus) -> str:
    """Return the run's counts as text."""
    if not status.published:
        return f"run {status.run} has no prompts: promptmill publish FILE --run {status.run}"
    return (
        f"run {status.run} is {'settled' if status.settled else 'not settled yet'}: "
        f"{status.published:,} published, {status.accepted:,} accepted, "
        f"{status.rejected:,} rejected, {status.dead:,} dead, {status.pending:,} pending"
    )
