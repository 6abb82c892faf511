"""Looking ids up in a table without keeping the table's ids in memory."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from promptmill.cli.counts import FEW_IDS

if TYPE_CHECKING:  # it loads numpy, which a short file and `status` do not need
    from promptmill.cli.publish.id_file import IdFile

Item = TypeVar("Item")

PART: Final = 4_096

Read: TypeAlias = Callable[[Collection[str] | None], Iterator[Sequence[str]]]
"""A function that reads ids from the table in batches: those of the given ones, or all."""


class StoredIds:
    """A look-up of ids in a table that only grows.

    A few ids, as for a short file, are looked up by one query. For more ids, or for a second
    look-up, all ids of the table are sorted into a file once, which costs about as much as five
    queries.

    Args:
        read: reads the ids of the table's latest version.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._file: IdFile | None = None
        self._has_asked = False

    async def among(self, ids: Sequence[str]) -> set[str]:
        """Return the given ids that the table holds.

        If the call is cancelled, its reading thread ends after the current batch.

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
        """Count the given ids that the table does not hold, without keeping them in memory."""
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
    """Yield the items until the event is set, because the result is not needed then."""
    for item in items:
        if ends.is_set():
            raise _Ended
        yield item
