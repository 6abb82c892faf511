"""``promptmill topics``: create the topics on a cluster that is not the local stack."""

from __future__ import annotations

from typing import Annotated

import typer

HELP = """Create the missing topics with the settings that promptmill needs.

Existing topics with other settings are left unchanged and reported. Settings that can lose
messages (cleanup.policy, retention.bytes, unclean.leader.election.enable,
message.timestamp.type) end the command with exit code 78; --mend corrects them.

At most as many workers of one stage can share the work as there are partitions. A data set keeps
the number of partitions with which its store began, so choose it before the first run.

Examples:

\b
  PROMPTMILL_KAFKA=broker1:9092,broker2:9092,broker3:9092 promptmill topics --brokers 3
  promptmill topics --partitions 96
  promptmill topics --mend
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
