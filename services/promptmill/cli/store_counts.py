"""The books of the Delta store, for the commands that count prompts."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from promptmill.cli.counts import Books, Published, Settled
from promptmill.lake.ports import TableName
from promptmill.lake.reader import DeltaReader

if TYPE_CHECKING:
    from promptmill.cli.store_rows import StoreRows

_OUTCOMES = (TableName.RECORDS, TableName.REJECTS, TableName.DEAD_LETTERS)


def open_books(store: str) -> Books:
    """The books of the store under this URI; tables that do not exist yet are empty."""
    return StoreBooks(DeltaReader(store))


class StoreBooks:
    """Counts by prompt, each from the newest version of its table.

    Counts come from the tables' logs, where sinks keep them by run; rows are read only of tables
    that an earlier version wrote and no sink has opened since.
    """

    def __init__(self, reader: DeltaReader) -> None:
        self._reader = reader

    def next_prompt_offsets(self) -> dict[int, int]:
        """By partition: the first offset of the topic of prompts that is not in the table."""
        snapshot = self._reader.snapshot(TableName.PROMPTS)
        return {} if snapshot is None else snapshot.next_offsets()

    def prompt_ids(self, run: str) -> set[str]:
        """The prompts of the run that are in the table."""
        return self._rows().prompt_ids(run)

    def published(self, run: str) -> Published:
        """How many of the run's prompts are in the table."""
        counted = self._reader.run_count(TableName.PROMPTS, run)
        if counted is not None:
            return Published(counted.prompts, counted.next_offsets, counted.partitions)
        offsets = self.next_prompt_offsets()  # first: what comes in between counts once
        return Published(len(self.prompt_ids(run)), offsets, self._reader.layout() or 0)

    def stored(self, run: str, ids: Collection[str]) -> set[str]:
        """Those of these prompts of the run that are in the table; reads the ids of the run."""
        return self._rows().stored(run, ids)

    def settled(self, run: str) -> Settled:
        """The outcomes of the run's prompts, never more than have one.

        Decisions are read first: before a replayed prompt is decided, its letter is closed, so
        no prompt is found decided and dead.
        """
        found = [self._reader.run_count(name, run) for name in _OUTCOMES]
        if all(counted is not None for counted in found):
            return Settled(*(counted.prompts for counted in found if counted is not None))
        accepted, rejected, dead = self._rows().outcomes(run)
        return Settled(len(accepted), len(rejected), len(dead))

    def settled_ids(self, run: str) -> set[str]:
        """The run's prompts that are accepted, rejected or dead."""
        return set().union(*self._rows().outcomes(run))

    def _rows(self) -> StoreRows:
        from promptmill.cli.store_rows import StoreRows  # loads pyarrow

        return StoreRows(self._reader)
