"""``promptmill topics``: create the topics on a cluster that is not the local stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from promptmill.kafka.topics import TopicSpec

HELP = """Create the missing topics with the settings that promptmill needs.

Existing topics with other settings are left unchanged and reported. Settings that can lose
messages (cleanup.policy, retention.bytes, unclean.leader.election.enable,
message.timestamp.type) end the command with exit code 78; --mend corrects them.

At most as many workers of one stage can share the work as there are partitions. A data set keeps
the number of partitions with which its store began, so choose it before the first run.

With --plan, the command connects to no broker and creates nothing. It prints the topics with their
settings and the rights of every part, for a cluster on which you may not create topics yourself.

Examples:

\b
  PROMPTMILL_KAFKA=broker1:9092,broker2:9092,broker3:9092 promptmill topics --brokers 3
  promptmill topics --partitions 96
  promptmill topics --mend
  promptmill topics --plan --brokers 3
  promptmill topics --json
"""

DEFAULT_PARTITIONS = 48


def topics(
    brokers: Annotated[
        int, typer.Option(min=1, help="Number of brokers, which decides the replication factor.")
    ] = 1,
    partitions: Annotated[
        int, typer.Option(min=1, max=4096, help="Number of partitions of each new topic.")
    ] = DEFAULT_PARTITIONS,
    mend: Annotated[
        bool, typer.Option("--mend", help="Correct settings that can lose messages.")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print what the cluster needs, and change nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    import asyncio

    from promptmill.cli.addresses import find_addresses
    from promptmill.cli.output import print_bytes, print_json, quiet_logs
    from promptmill.cli.settings import load
    from promptmill.kafka.topics import check_differences, ensure_topics, topic_specs

    quiet_logs()
    settings = load()
    specs = topic_specs(settings.topic_prefix, brokers, partitions)
    if plan:
        _print_plan(specs, settings.topic_prefix, as_json=as_json)
        return
    kafka = settings.kafka or find_addresses(settings).kafka
    differences = asyncio.run(ensure_topics(kafka, specs, mend=mend))
    found = [str(difference) for difference in differences]
    if as_json:
        print_json({"topics": [spec.name for spec in specs], "differences": found})
    else:
        print_bytes(f"{len(specs)} topics exist".encode())
        for difference in found:
            print_bytes(f"note: {difference}; it was left unchanged".encode())
    check_differences(kafka, differences)


def _print_plan(specs: list[TopicSpec], prefix: str, *, as_json: bool) -> None:
    """Print the topics and the rights that a cluster needs."""
    from promptmill.cli.output import print_bytes, print_json
    from promptmill.kafka.access import CREATOR, rights

    needed = rights(prefix)
    if as_json:
        topics = [
            {
                "name": spec.name,
                "partitions": spec.partitions,
                "replication": spec.replication,
                "settings": spec.settings,
            }
            for spec in specs
        ]
        print_json({"topics": topics, "rights": [right.as_json() for right in needed]})
        return
    for spec in specs:
        settings = " ".join(f"{name}={value}" for name, value in spec.settings.items())
        size = f"partitions={spec.partitions} replication={spec.replication}"
        print_bytes(f"topic {spec.name} {size} {settings}".encode())
    for right in needed:
        operations = ", ".join(right.operations)
        print_bytes(f"right {right.part}: {operations} on {right.resource} {right.name}".encode())
    print_bytes(f"Whoever creates the topics needs {CREATOR}.".encode())
