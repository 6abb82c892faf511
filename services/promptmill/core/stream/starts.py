"""Where an assignment begins."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

import structlog

from promptmill.core.errors import Misconfigured, Transient
from promptmill.core.stream.ports import Partition, Position, Source
from promptmill.core.stream.settings import LoopSettings

log = structlog.get_logger(__name__)


async def read_starts(
    source: Source,
    partitions: Collection[Partition],
    left: Mapping[Partition, int],
    settings: LoopSettings,
) -> dict[Partition, Position]:
    """The committed position of each partition, or the start of its log.

    Asks until the coordinator answers: without a position nothing can be consumed.

    Args:
        left: where the group stood when a partition was last here. A broker forgets a group's
            offsets together with the topic, so their absence later is no beginning.

    Raises:
        Misconfigured: a committed offset is outside the log or has vanished (topic made anew,
            or records deleted before they were consumed). It is never reset silently.
    """
    if not partitions:
        return {}
    attempt = 0
    while True:
        try:
            async with asyncio.timeout(settings.failover_s):
                committed = await source.committed(partitions)
                bounds = await source.bounds(partitions)
        except (Transient, TimeoutError) as error:
            attempt += 1
            log.warning("positions_unknown", attempt=attempt, error=repr(error))
            await asyncio.sleep(min(1.0, settings.backoff_s(attempt)))
        else:
            return {p: _start(p, committed.get(p), left.get(p, 0), *bounds[p]) for p in partitions}


def _start(
    partition: Partition, committed: Position | None, left_at: int, first: int, end: int
) -> Position:
    if committed is None:
        if left_at <= first:
            return Position(first)
        raise Misconfigured(
            f"the group stood at {left_at} of {partition} and has no offset there any more; its "
            f"log holds {first} to {end}: the topic was made anew, or the group's offsets were "
            f"deleted; restore them, or start the worker again to begin with what is there"
        )
    if first <= committed.offset <= end:
        return committed
    raise Misconfigured(
        f"the committed offset of {partition} is {committed.offset}, but its log holds {first} "
        f"to {end}: the topic was made anew or records were deleted before they were consumed; "
        f"restore the topic, or delete the group's offsets to start from what is there"
    )
