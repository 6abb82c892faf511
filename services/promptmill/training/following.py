"""Following a growing table: when to read it again, and when to end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from promptmill.lake.ports import TableName
from promptmill.lake.reader import DeltaReader
from promptmill.runtime.errors import Unavailable
from promptmill.training.position import Cursor
from promptmill.training.windows import Bounds, Windows

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
"""The limit up to which the pauses double while a table does not change."""

_OUTCOMES = (TableName.RECORDS, TableName.REJECTS, TableName.DEAD_LETTERS)


@dataclass(frozen=True, slots=True)
class Following:
    """The conditions under which a stream ends.

    Attributes:
        follow: whether the stream waits for further rows at the end of the table.
        idle_s: seconds without new rows after which the stream ends.
        settled_run: a run; the stream ends when each of its stored prompts has an outcome.
    """

    follow: bool
    idle_s: float | None
    settled_run: str | None

    def windows(
        self,
        reader: DeltaReader,
        windows: Windows,
        cursor: Cursor,
        on_pause: Callable[[], None] = lambda: None,
    ) -> Iterator[tuple[Bounds, pa.Table]]:
        """Yield windows from the cursor onwards, and wait for further ones.

        If the store is unavailable, the call retries, unless the stream does not follow or its idle
        time has passed.

        Args:
            reader: the reader of the store.
            windows: the rows to read.
            cursor: the position to begin at; the caller moves it.
            on_pause: called before each pause.

        Raises:
            Unavailable: the store does not answer.
        """
        news_at, pause = time.monotonic(), FIRST_PAUSE_S
        while True:
            # If the run is settled before the end of the table is read, it has no rows beyond that
            # end.
            found, failure, settled = False, None, False
            try:
                settled = self._is_settled(reader)
                for window in windows.read(cursor.offsets()):
                    found = True
                    yield window
            except Unavailable as error:
                if not self.follow:
                    raise
                failure = error
            if not self.follow or (settled and failure is None and not found):
                return
            if found:
                news_at, pause = time.monotonic(), FIRST_PAUSE_S
            left = self._left(news_at)
            if left <= 0:
                if failure is not None:
                    raise failure
                return
            on_pause()
            time.sleep(min(pause, left))
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _left(self, news_at: float) -> float:
        """Return the seconds until the stream has been idle for too long."""
        if self.idle_s is None:
            return LONGEST_PAUSE_S
        return news_at + self.idle_s - time.monotonic()

    def _is_settled(self, reader: DeltaReader) -> bool:
        """Return whether every stored prompt of the run has an outcome.

        Outcomes are counted before prompts, so that none of them belongs to a later prompt. The
        dead letter of a replayed prompt is closed before the prompt is decided.
        """
        if self.settled_run is None:
            return False
        found = [reader.run_count(name, self.settled_run) for name in _OUTCOMES]
        published = reader.run_count(TableName.PROMPTS, self.settled_run)
        if published is None or not published.prompts:
            return False
        outcomes = sum(0 if each is None else each.prompts for each in found)
        return outcomes >= published.prompts
