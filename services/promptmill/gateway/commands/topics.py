"""``promptmill topics``: create the topics on a cluster that is not the local stack."""

from __future__ import annotations

from typing import Annotated

import typer

HELP = """Create the topics that are missing, with the settings that promptmill wants.

Topics that exist with other settings are reported and left alone.

Examples:

\b
  PROMPTMILL_KAFKA=broker1:9092,broker2:9092,broker3:9092 promptmill topics --brokers 3
  promptmill topics --json
"""


def topics(
    brokers: Annotated[int, typer.Option(min=1, help="Of the cluster: sets the replication.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    import asyncio

    from promptmill.gateway.addresses import find_addresses
    from promptmill.gateway.output import print_bytes, print_json
    from promptmill.gateway.quiet import quiet_logs
    from promptmill.gateway.settings import load
    from promptmill.gateway.topics import topic_specs
    from promptmill.local.topics import ensure_topics

    quiet_logs()
    settings = load()
    specs = topic_specs(settings.topic_prefix, brokers)
    kafka = settings.kafka or find_addresses(settings).kafka
    found = [str(difference) for difference in asyncio.run(ensure_topics(kafka, specs))]
    if as_json:
        print_json({"topics": [spec.name for spec in specs], "differences": found})
        return
    print_bytes(f"{len(specs)} topics are there".encode())
    for difference in found:
        print_bytes(f"note: {difference}; it was left as it is".encode())
