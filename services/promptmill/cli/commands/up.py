"""``promptmill up``: start a local Kafka and Redis, and create the topics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from promptmill.devstack.servers import StackInfo

HELP = """Start a real Kafka and Redis on free ports of 127.0.0.1, and create the topics.

A local stack that is already running is reused. One that was killed is restarted with its data.

With --secure, a new stack accepts connections to Kafka only with TLS and a login (SASL_SSL, SCRAM),
gives each stage a user with least rights (ACLs), and creates a user for Redis. Commands and workers
that use this home folder find their users themselves.

Examples:

\b
  promptmill up
  promptmill up --brokers 3        a cluster with replication factor 3 and two in-sync replicas
  promptmill up --partitions 24    for at most 24 workers of a stage in a new data set
  promptmill up --secure           TLS, a login and least rights for every part
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
    secure: Annotated[
        bool, typer.Option("--secure", help="Encrypt, ask for a login, and grant least rights.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    from promptmill.cli.output import print_bytes, print_json, quiet_logs, stack_progress
    from promptmill.cli.settings import load
    from promptmill.devstack import stack

    settings = load()
    quiet_logs()
    with stack_progress() as on_progress:
        info = stack.up(settings.home, brokers, on_progress, secure=secure)
    _ensure_topics(info, settings.topic_prefix, partitions)
    if as_json:
        print_json(info.as_json())
        return
    print_bytes(f"Kafka  {info.kafka}\nRedis  {info.shown_redis}\nhome   {info.home}".encode())
    if info.secure:
        print_bytes(f"users  {info.home / 'secure'}".encode())


def _ensure_topics(info: StackInfo, prefix: str, partitions: int) -> None:
    """Create missing topics and correct settings that lose messages; report other differences."""
    import asyncio

    from promptmill.cli.output import note
    from promptmill.kafka.topics import ensure_topics, topic_specs

    _log_in_as_admin(info)
    specs = topic_specs(prefix, len(info.kafka.split(",")), partitions)
    for difference in asyncio.run(ensure_topics(info.kafka, specs, mend=True)):
        note(f"note: {difference}; it was left unchanged")
    if info.secure:
        asyncio.run(_grant(info, prefix))


def _log_in_as_admin(info: StackInfo) -> None:
    """Let this process create topics and rights on a secure stack."""
    import os

    from promptmill.devstack.security import ADMIN, StackSecurity

    if info.secure:
        os.environ.update(StackSecurity(info.home).client_settings(ADMIN))


async def _grant(info: StackInfo, prefix: str) -> None:
    """Give each part's user its rights."""
    from promptmill.devstack.security import OPERATOR, STAGES
    from promptmill.kafka.access import grant, rights
    from promptmill.kafka.client import open_admin

    users = {part: f"User:{part}" for part in (*STAGES, OPERATOR)}
    async with open_admin(info.kafka) as admin:
        await grant(admin, rights(prefix), users)
