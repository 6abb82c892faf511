"""Merging of small files after every few flushes, in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from promptmill.lake.ports import Sink, TableName
from promptmill.runtime.errors import Transient
from promptmill.runtime.memory import release_unused_memory

log = structlog.get_logger(__name__)


class Compaction:
    """Counts flushes and merges the files of every table after so many of them.

    Args:
        every: the number of flushes between two rounds; 0 disables compaction.
        on_error: called with an error that should end the process.
    """

    def __init__(self, sink: Sink, every: int, on_error: Callable[[BaseException], None]) -> None:
        self._sink = sink
        self._every = every
        self._on_error = on_error
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
        await asyncio.to_thread(release_unused_memory)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_error(error)

    async def end(self) -> None:
        """Begin no further table; a table that is being compacted is finished by its thread."""
        if self._round is not None:
            self._round.cancel()
            await asyncio.gather(self._round, return_exceptions=True)
