"""Finds the offset at which an assigned partition begins."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import NamedTuple, TypeAlias

import structlog

from promptmill.runtime.errors import Misconfigured, Transient
from promptmill.stream.lost_records import LogCheck
from promptmill.stream.ports import Partition, Position, Source
from promptmill.stream.settings import LoopSettings

log = structlog.get_logger(__name__)


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

    The request is repeated until the coordinator answers, because nothing can be consumed without
    a position.

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
    committed, bounds = await _positions(source, partitions, settings)
    positions = {p: _position(p, committed.get(p), left.get(p, 0), *bounds[p]) for p in partitions}
    expected = {partition: position.offset for partition, position in positions.items()}
    resumed = await check.resume(expected, bounds)
    return {p: Start(positions[p], resumed[p], bounds[p][1]) for p in partitions}


async def _positions(
    source: Source, partitions: Collection[Partition], settings: LoopSettings
) -> tuple[Mapping[Partition, Position], Mapping[Partition, tuple[int, int]]]:
    attempt = 0
    while True:
        try:
            async with asyncio.timeout(settings.failover_s):
                return await source.committed(partitions), await source.bounds(partitions)
        except (Transient, TimeoutError) as error:
            attempt += 1
            log.warning("positions_unknown", attempt=attempt, error=repr(error))
            await asyncio.sleep(min(1.0, settings.backoff_s(attempt)))


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
