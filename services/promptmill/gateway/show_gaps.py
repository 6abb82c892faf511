"""The wiring of ``gaps`` and ``gaps accept``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from promptmill.core.errors import Misconfigured
from promptmill.core.stream.kafka.reader import LogReader
from promptmill.gateway.addresses import find_addresses
from promptmill.gateway.gaps import Lost, accept, find_lost
from promptmill.gateway.output import print_bytes, print_json
from promptmill.gateway.quiet import quiet_logs
from promptmill.gateway.settings import GatewaySettings, load

CLIENT = "promptmill-gaps"


def show_gaps(*, as_json: bool) -> None:
    """Print what is lost now."""
    _print(_find(load()), "no records have been lost", as_json=as_json)


def accept_gaps(
    topic: str | None, partition: int | None, stage: str | None, *, as_json: bool
) -> None:
    """Accept what is lost now and matches; print what was accepted.

    Args:
        topic: its name, with or without the prefix; ``None`` matches every one.

    Raises:
        Misconfigured: nothing matches, although a topic was named.
    """
    settings = load()
    names = {topic, f"{settings.topic_prefix}{topic}"}
    lost = [
        each
        for each in _find(settings)
        if not each.accepted
        and (topic is None or each.gap.partition.topic in names)
        and partition in {None, each.gap.partition.number}
        and stage in {None, each.stage}
    ]
    if not lost and topic is not None:
        raise Misconfigured(
            f"no records of topic {topic!r}, partition {partition}, are lost and not yet "
            "accepted: see `promptmill gaps`"
        )
    accept(settings.store_uri, lost)
    accepted = [Lost(each.stage, each.gap, accepted=True) for each in lost]
    _print(accepted, "there are no losses left to accept", as_json=as_json)


def _find(settings: GatewaySettings) -> list[Lost]:
    quiet_logs()
    addresses = find_addresses(settings)

    async def find() -> list[Lost]:
        async with LogReader(addresses.kafka, client_id=CLIENT) as reader:
            return await find_lost(settings, reader, addresses.store)

    return asyncio.run(find())


def _print(lost: Sequence[Lost], otherwise: str, *, as_json: bool) -> None:
    for each in lost:
        if as_json:
            print_json(each.as_json())
        else:
            print_bytes(_line(each).encode())
    if not lost and not as_json:
        print_bytes(otherwise.encode())


def _line(lost: Lost) -> str:
    gap, state = lost.gap, "accepted" if lost.accepted else "not accepted"
    return (
        f"{lost.stage:8}  {gap.partition!s:24}  offsets {gap.first} to {gap.last}  "
        f"{gap.records:,} records  {state}"
    )
