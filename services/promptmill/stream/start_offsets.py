"""Finds the offset at which an assigned partition begins.

The member sends no heartbeats while it is told of an assignment. So a partition whose leader does
not answer must not delay the others: it is left out, and asked for again in the background.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import NamedTuple, TypeAlias

import structlog

from promptmill.runtime.errors import Misconfigured, Transient
from promptmill.runtime.fan_out import all_outcomes
from promptmill.stream.lost_records import LogCheck
from promptmill.stream.ports import Partition, Position, Source
from promptmill.stream.settings import LoopSettings

log = structlog.get_logger(__name__)

BOUNDS_LIMIT_S = 5.0
"""The time limit of a request for the bounds of logs; much shorter than a session."""


class Start(NamedTuple):
    """The beginning of one assignment of a partition.

    Attributes:
        committed: the committed position of the group, with the offset map.
        offset: the first offset to read: the committed one, or the end of an accepted gap.
        end: the end offset of the log at the time of the assignment.
    """

    committed: Position
    offset: int
    end: int = 0

    @property
    def is_first(self) -> bool:
        """Whether the group has no commit here, because it never had one or it has expired."""
        return self.committed == Position(0)


Prepare: TypeAlias = Callable[[Mapping[Partition, Start]], Awaitable[None]]
"""Prepares a stage for an assignment; it must not raise."""


async def read_starts(
    source: Source,
    partitions: Collection[Partition],
    left: Mapping[Partition, int],
    settings: LoopSettings,
    check: LogCheck,
) -> dict[Partition, Start]:
    """Read the committed position of each partition; a group without one begins at offset 0.

    The request to the coordinator is repeated until it answers, because nothing can be consumed
    without a position. Partitions whose leader does not answer in time are left out.

    Args:
        left: the committed offsets at the last revocation. A broker deletes a group's offsets with
            the topic, so a partition that had one and has none now was recreated.

    Raises:
        LostRecords: the log begins after the position, or after 0 for a group without one.
        Misconfigured: a committed offset is beyond the end of the log or has disappeared, because
            the topic was recreated. Positions are never reset silently.
    """
    if not partitions:
        return {}
    committed = await _committed(source, partitions, settings)
    bounds = await _known_bounds(source, partitions, min(BOUNDS_LIMIT_S, settings.failover_s))
    if unknown := [str(partition) for partition in partitions if partition not in bounds]:
        log.warning("bounds_unknown", partitions=unknown)
    positions = {p: _position(p, committed.get(p), left.get(p, 0), *at) for p, at in bounds.items()}
    expected = {partition: position.offset for partition, position in positions.items()}
    resumed = await check.resume(expected, bounds)
    return {p: Start(positions[p], resumed[p], bounds[p][1]) for p in bounds}


async def _committed(
    source: Source, partitions: Collection[Partition], settings: LoopSettings
) -> Mapping[Partition, Position]:
    attempt = 0
    while True:
        try:
            async with asyncio.timeout(settings.failover_s):
                return await source.committed(partitions)
        except (Transient, TimeoutError) as error:
            attempt += 1
            log.warning("positions_unknown", attempt=attempt, error=repr(error))
            await asyncio.sleep(min(1.0, settings.backoff_s(attempt)))


async def _known_bounds(
    source: Source, partitions: Collection[Partition], limit_s: float
) -> dict[Partition, tuple[int, int]]:
    """The bounds of all logs, or of those whose leader answers if asked alone."""
    try:
        async with asyncio.timeout(limit_s):
            return dict(await source.bounds(partitions))
    except (Transient, TimeoutError) as error:
        if len(partitions) == 1:
            log.info("no_bounds", error=repr(error))
            return {}
    known: dict[Partition, tuple[int, int]] = {}
    for outcome in await all_outcomes([_known_bounds(source, [p], limit_s) for p in partitions]):
        if isinstance(outcome, Exception):
            raise outcome
        known |= outcome
    return known


def _position(
    partition: Partition, committed: Position | None, left_at: int, first: int, end: int
) -> Position:
    if committed is None:
        if left_at == 0:
            return Position(0)
        raise Misconfigured(
            f"the group had reached offset {left_at} of {partition} and no longer has a committed "
            f"offset there; its log holds {first} to {end}: the topic was recreated, or the "
            "group's offsets were deleted; restore them, or start the worker again to begin with "
            "the first message"
        )
    if committed.offset <= end:
        return committed
    raise Misconfigured(
        f"the committed offset of {partition} is {committed.offset}, but its log holds {first} to "
        f"{end}: the topic was recreated; restore it, or delete the group's offsets to start from "
        "the first message"
    )
