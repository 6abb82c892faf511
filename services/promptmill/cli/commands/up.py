"""``promptmill up``: start a local Kafka and Redis, and create the topics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from promptmill.devstack.servers import StackInfo

HELP = """Start a real Kafka and Redis on free ports of 127.0.0.1, and create the topics.

A local stack that is already running is reused. One that was killed is restarted with its data.

Examples:

\b
  promptmill up
  promptmill up --brokers 3        a cluster with replication factor 3 and two in-sync replicas
  promptmill up --partitions 24    for at most 24 workers of a stage in a new data set
  promptmill up --json             {"kafka": …, "redis": …, "home": …}
"""


DEFAULT_PARTITIONS = 12


def up(
    brokers: Annotated[
        int | None,
        typer.Option(
            help="Number of brokers, 1 or 3; by default that of the existing local stack, or 1."
        ),
    ] = None,
    partitions: Annotated[
        int, typer.Option(min=1, max=4096, help="Number of partitions of each new topic.")
    ] = DEFAULT_PARTITIONS,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    from promptmill.cli.output import print_bytes, print_json, stack_progress
    from promptmill.cli.settings import load
    from promptmill.devstack import stack

    settings = load()
    with stack_progress() as on_progress:
        info = stack.up(settings.home, brokers, on_progress)
    _ensure_topics(info, settings.topic_prefix, partitions)
    if as_json:
        print_json(info.as_json())
        return
    print_bytes(f"Kafka  {info.kafka}\nRedis  {info.redis}\nhome   {info.home}".encode())


def _ensure_topics(info: StackInfo, prefix: str, partitions: int) -> None:
    """Create missing topics and correct settings that lose messages; report other differences."""
    import asyncio

    from promptmill.cli.output import note, quiet_logs
    from promptmill.kafka.topics import ensure_topics, topic_specs

    quiet_logs()
    specs = topic_specs(prefix, len(info.kafka.split(",")), partitions)
    for difference in asyncio.run(ensure_topics(info.kafka, specs, mend=True)):
        note(f"note: {difference}; it was left unchanged")
