"""Run counts from the Delta store, for the commands that count prompts."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import chain

from promptmill.cli.counts import FEW_IDS, OutcomeCounts, StoredPrompts
from promptmill.cli.store_rows import StoreRows
from promptmill.lake.ports import TableName
from promptmill.lake.reader import DeltaReader

_OUTCOMES = (TableName.RECORDS, TableName.REJECTS, TableName.DEAD_LETTERS)


def open_counts(store: str) -> DeltaCounts:
    """Open the run counts of the store under this URI; missing tables count as empty."""
    return DeltaCounts(DeltaReader(store))


class DeltaCounts:
    """The counts of prompts, each from the latest version of its table.

    Sinks keep the counts of each run in the tables' logs. Rows are read only if an earlier
    version of promptmill wrote the table, and no sink has opened it since.
    """

    def __init__(self, reader: DeltaReader) -> None:
        self._reader = reader
        self._rows = StoreRows(reader)

    def next_prompt_offsets(self) -> dict[int, int]:
        """Return the first offset of the topic ``prompts`` that the table lacks, by partition."""
        snapshot = self._reader.snapshot(TableName.PROMPTS)
        return {} if snapshot is None else snapshot.next_offsets()

    def has_none(self, run: str) -> bool:
        """Return whether the table certainly holds no prompt of the run, without reading rows."""
        counted = self._reader.run_count(TableName.PROMPTS, run)
        return counted is not None and counted.prompts == 0

    def prompt_ids(self, run: str, among: Collection[str] | None = None) -> Iterator[list[str]]:
        """Yield the ids of the run's prompts in the table in batches; some may occur twice."""
        return self._rows.prompt_ids(run, among)

    def own_ids(self, run: str) -> Iterator[tuple[str, str]]:
        """Yield the prompt id and the own id of each of the run's prompts that has an own id."""
        return self._rows.own_ids(run)

    def published(self, run: str) -> StoredPrompts:
        """Count the run's prompts in the table."""
        counted = self._reader.run_count(TableName.PROMPTS, run)
        if counted is not None:
            return StoredPrompts(counted.prompts, counted.next_offsets, counted.partitions)
        offsets = self.next_prompt_offsets()  # read first, so that later rows are not counted twice
        ids = set(chain.from_iterable(self.prompt_ids(run)))
        return StoredPrompts(len(ids), offsets, self._reader.layout() or 0)

    def stored(self, run: str, ids: Collection[str]) -> set[str]:
        """Return the given ids that the table holds for this run; this reads the run's ids."""
        wanted = set(ids)
        found = self.prompt_ids(run, wanted if len(wanted) <= FEW_IDS else None)
        return {each for batch in found for each in batch if each in wanted}

    def settled(self, run: str) -> OutcomeCounts:
        """Count the run's prompts by outcome; each prompt is counted once.

        Decisions are read before dead letters. The dead letter of a replayed prompt is closed
        before the prompt is decided, so no prompt is counted as both decided and dead.
        """
        found = [self._reader.run_count(name, run) for name in _OUTCOMES]
        if all(counted is not None for counted in found):
            return OutcomeCounts(*(counted.prompts for counted in found if counted is not None))
        accepted, rejected, dead = self._rows.outcomes(run)
        return OutcomeCounts(len(accepted), len(rejected), len(dead))

    def settled_ids(self, run: str, among: Collection[str] | None = None) -> Iterator[list[str]]:
        """Yield the ids of the run's settled prompts in batches; some may occur twice."""
        return self._rows.settled_ids(run, among)
