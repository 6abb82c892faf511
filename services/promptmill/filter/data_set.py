"""The data set of a filter's claims: the one whose tables the store has created.

Its id is stored in a table. It is therefore the same for every spelling or mount of the folder, and
another id for another store. A filter that sees no table decides nothing, because claims that were
built without the table would accept contents again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from promptmill.lake.ports import TableName
from promptmill.lake.reader import DeltaReader, Snapshot
from promptmill.runtime.errors import Misconfigured, Unavailable

log = structlog.get_logger(__name__)

LOOK_S = 0.5
REMIND_S = 30.0
"""Between two lines in the log about a store that is still missing."""


class DataSet:
    """The tables of one store, as a filter sees them.

    Args:
        folder: path or URI of the store.
        prefix: before every topic's name; tables of other topics are refused.
    """

    def __init__(self, folder: str, prefix: str) -> None:
        self._folder = folder
        self._prefix = prefix
        self._reader = DeltaReader(folder)
        self.id = ""

    async def wait(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> str:
        """Return the id of the data set; wait until the store has created its tables.

        Raises:
            Misconfigured: the tables belong to other topics.
        """
        waited_s = 0.0
        while True:
            try:
                self.id = (await asyncio.to_thread(self._open, TableName.RECORDS)).table_id
            except Unavailable as error:
                if waited_s % REMIND_S == 0:
                    log.warning("waiting_for_store", error=str(error), waited_s=waited_s)
                await sleep(LOOK_S)
                waited_s += LOOK_S
            else:
                return self.id

    async def snapshot(self, table: TableName) -> Snapshot:
        """Return the present version of a table.

        Raises:
            Unavailable: there is no table, or the storage does not answer.
            Misconfigured: the table is another data set's than the one that was waited for.
        """
        snapshot = await asyncio.to_thread(self._open, table)
        if table is TableName.RECORDS and snapshot.table_id != self.id:
            raise Misconfigured(
                f"{self._folder} no longer holds the data set that this filter started with (its "
                f"table id is {snapshot.table_id}, it was {self.id}): the store was replaced; "
                "restart the filter"
            )
        return snapshot

    def _open(self, table: TableName) -> Snapshot:
        snapshot = self._reader.snapshot(table)
        if snapshot is None:
            raise Unavailable(
                f"there is no table {table} in {self._folder}: start the store (`promptmill run "
                "store`), or set PROMPTMILL_STORE to the store's folder and mount it here"
            )
        if not snapshot.topic.startswith(self._prefix):
            raise Misconfigured(
                f"{self._folder}: the table {table} is filled from topic {snapshot.topic}, but "
                f"this filter's topics begin with {self._prefix!r}; set PROMPTMILL_STORE or "
                "PROMPTMILL_TOPIC_PREFIX to match"
            )
        return snapshot
