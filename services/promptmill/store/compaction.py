"""Merging of small files after every few flushes, and deletion of those that it replaced."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import structlog

from promptmill.lake.ports import Sink, TableName
from promptmill.runtime.errors import Transient
from promptmill.runtime.memory import release_unused_memory
from promptmill.store.limits import SinkLimits

log = structlog.get_logger(__name__)


VACUUM_INTERVAL_S = 3600.0
"""Between two deletions; each lists the whole folder of a table."""


class Compaction:
    """Counts flushes and merges the files of every table after so many of them.

    Args:
        limits: ``compact_commits`` and ``vacuum_hours`` of them.
        on_error: called with an error that should end the process.
        clock: returns monotonic seconds.
    """

    def __init__(
        self,
        sink: Sink,
        limits: SinkLimits,
        on_error: Callable[[BaseException], None],
        clock: Callable[[], float],
    ) -> None:
        self._sink = sink
        self._every = limits.compact_commits
        self._vacuum_hours = limits.vacuum_hours
        self._on_error = on_error
        self._clock = clock
        self._next_vacuum = -math.inf
        self._flushes = 0
        self._round: asyncio.Task[None] | None = None

    def count_flush(self, *, is_elected: bool) -> None:
        """Count a flush. Only the elected sink of a store merges files."""
        self._flushes += 1
        if self._every == 0 or self._flushes < self._every or not is_elected:
            return
        if self._round is None or self._round.done():
            self._flushes = 0
            self._round = asyncio.create_task(self._run())
            self._round.add_done_callback(self._on_done)

    async def _run(self) -> None:
        for table in TableName:
            try:
                await asyncio.to_thread(self._sink.compact, table)
            except Transient as error:
                log.warning("compaction_failed", table=table, error=str(error))
        if self._vacuum_hours >= 0 and self._clock() >= self._next_vacuum:
            await self._vacuum()
        await asyncio.to_thread(release_unused_memory)

    async def _vacuum(self) -> None:
        """Delete replaced files; replaced files that are kept for no time, after each round."""
        self._next_vacuum = self._clock() + (VACUUM_INTERVAL_S if self._vacuum_hours else 0)
        for table in TableName:
            try:
                removed = await asyncio.to_thread(self._sink.vacuum, table, self._vacuum_hours)
            except Transient as error:
                log.warning("vacuum_failed", table=table, error=str(error))
            else:
                log.info("vacuumed", table=table, files=removed)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_error(error)

    async def end(self) -> None:
        """Begin no further table; a table that is being compacted is finished by its thread."""
        if self._round is not None:
            self._round.cancel()
            await asyncio.gather(self._round, return_exceptions=True)
