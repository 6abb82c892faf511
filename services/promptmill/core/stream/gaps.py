"""Deliveries that are not the expected ones: does the log still hold what should have come?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import structlog

from promptmill.core.errors import Misconfigured, Transient
from promptmill.core.stream.ports import Partition, Source

log = structlog.get_logger(__name__)


class GapWatch:
    """Looks at the log where offsets were passed over, once at a time for each partition.

    Args:
        on_lost: told when records are gone that nobody has consumed.
    """

    def __init__(self, source: Source, on_lost: Callable[[BaseException], None]) -> None:
        self._source = source
        self._on_lost = on_lost
        self._checks: dict[Partition, asyncio.Task[None]] = {}

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """What is being looked at now."""
        return list(self._checks.values())

    def look(self, partition: Partition, expected: int) -> None:
        """The record at ``expected`` was to come next, and another came."""
        if partition not in self._checks:
            task = asyncio.create_task(check_gap(self._source, partition, expected))
            self._checks[partition] = task
            task.add_done_callback(partial(self._on_checked, partition))

    def _on_checked(self, partition: Partition, task: asyncio.Task[None]) -> None:
        del self._checks[partition]
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Transient):
            log.warning("gap_not_checked", partition=str(partition), error=str(error))
        elif error is not None:
            self._on_lost(error)


async def check_gap(source: Source, partition: Partition, expected: int) -> None:
    """A delivery was not the expected one: harmless where offsets never existed.

    Raises:
        Misconfigured: the log no longer holds ``expected``: it was deleted before it was
            consumed, or the topic was made anew.
    """
    first, end = (await source.bounds([partition]))[partition]
    if first > expected:
        raise Misconfigured(
            f"{partition} lost the records from {expected} to {first - 1}: retention deleted "
            f"them before they were consumed; raise retention.ms or add workers"
        )
    if end < expected:
        raise Misconfigured(
            f"{partition} ends at {end}, but {expected} was next: the topic was made anew; "
            f"restore it, or delete the group's offsets to start from what is there"
        )
