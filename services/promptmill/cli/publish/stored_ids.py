"""Which of some ids a table holds, without holding the ids of the table in memory."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from promptmill.cli.counts import FEW_IDS

if TYPE_CHECKING:  # it loads numpy, which a short file and `status` do without
    from promptmill.cli.publish.id_file import IdFile

Item = TypeVar("Item")

PART: Final = 4_096

Read: TypeAlias = Callable[[Collection[str] | None], Iterator[Sequence[str]]]
"""Reads ids from the table in batches: those of the given ones that it holds, or all."""


class StoredIds:
    """Looks ids up in a table that only grows.

    A few ids are looked up by one query, as for a short file. Whoever asks for more, or a second
    time, has all ids of the table sorted into a file once, which costs about as much as five such
    queries.

    Args:
        read: of the table's latest version.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._file: IdFile | None = None
        self._has_asked = False

    async def among(self, ids: Sequence[str]) -> set[str]:
        """Those of these ids that the table holds.

        When it is cancelled, the thread that reads ends with the next batch.

        Raises:
            Unavailable: the table cannot be read.
        """
        if not ids:
            return set()
        ends = threading.Event()
        try:
            return await asyncio.to_thread(self._among, ids, ends)
        finally:
            ends.set()

    async def missing(self, ids: Iterable[str]) -> int:
        """How many of these ids the table does not hold; they are never in memory at once."""
        missing, rest = 0, iter(ids)
        while part := list(islice(rest, PART)):
            missing += len(part) - len(await self.among(part))
        return missing

    def _among(self, ids: Sequence[str], ends: threading.Event) -> set[str]:
        if self._file is None and not self._has_asked and len(ids) <= FEW_IDS:
            self._has_asked = True
            return {each for batch in _until(self._read(ids), ends) for each in batch}
        if self._file is None:
            from promptmill.cli.publish.id_file import IdFile

            self._file = IdFile(_until(self._read(None), ends))
        return self._file.among(ids)


class _Ended(Exception):
    """The caller was cancelled, so the thread stops reading."""


def _until(items: Iterator[Item], ends: threading.Event) -> Iterator[Item]:
    """The items, until an event, after which the result is not needed."""
    for item in items:
        if ends.is_set():
            raise _Ended
        yield item
