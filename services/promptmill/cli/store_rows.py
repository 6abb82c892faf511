"""The ids of a run's prompts, read from the rows of the tables."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.dataset as ds

from promptmill.cli.counts import CUSTOM_ID
from promptmill.lake.dead_letters import scan_letters
from promptmill.lake.ports import TableName
from promptmill.lake.reader import DeltaReader
from promptmill.lake.tables.dead_letters import DEAD


class StoreRows:
    """The ids of prompts, each set from the latest version of its table."""

    def __init__(self, reader: DeltaReader) -> None:
        self._reader = reader

    def prompt_ids(self, run: str) -> Iterator[str]:
        """The prompts of the run that are in the table, in no order; some may come twice."""
        return self._ids(TableName.PROMPTS, ds.field("run") == run)

    def own_ids(self, run: str) -> Iterator[tuple[str, str]]:
        """The ids of the run's prompts whose tags have an own id, with it."""
        if (snapshot := self._reader.snapshot(TableName.PROMPTS)) is None:
            return
        for batch in snapshot.scan(["prompt_id", "tags"], ds.field("run") == run):
            for prompt_id, tags in zip(*(c.to_pylist() for c in batch.columns), strict=True):
                if own := _tags(tags).get(CUSTOM_ID):
                    yield prompt_id, own

    def stored(self, run: str, ids: Collection[str]) -> set[str]:
        """Those of these ids of the run that are in the table; reads the ids of the run."""
        of_run = ds.field("run") == run
        return set(self._ids(TableName.PROMPTS, of_run & ds.field("prompt_id").isin(sorted(ids))))

    def outcomes(self, run: str) -> tuple[set[str], set[str], set[str]]:
        """The accepted, rejected and dead prompts, as disjoint sets.

        Dead letters are read first. A prompt that is replayed and accepted in the meantime is
        found again among the accepted, and counts as accepted.
        """
        of_run = ds.field("run") == run
        dead = set(self._dead(of_run))
        rejected = set(self._ids(TableName.REJECTS, of_run))
        accepted = set(self._ids(TableName.RECORDS, of_run))
        rejected -= accepted
        return accepted, rejected, dead - accepted - rejected

    def settled_ids(self, run: str) -> Iterator[str]:
        """The same prompts, one after another; some may come twice."""
        of_run = ds.field("run") == run
        yield from self._dead(of_run)
        yield from self._ids(TableName.REJECTS, of_run)
        yield from self._ids(TableName.RECORDS, of_run)

    def _dead(self, condition: ds.Expression) -> Iterator[str]:
        if (snapshot := self._reader.snapshot(TableName.DEAD_LETTERS)) is not None:
            yield from _found(scan_letters(snapshot, ["prompt_id"], condition, state=DEAD))

    def _ids(self, table: TableName, condition: ds.Expression) -> Iterator[str]:
        if (snapshot := self._reader.snapshot(table)) is not None:
            yield from _found(snapshot.scan(["prompt_id"], condition))


def _tags(value: Any) -> dict[str, str]:
    """The tags of a row, which are a map in tables of version 1, and JSON in later ones."""
    if value is None:
        return {}
    found: dict[str, str] = orjson.loads(value) if isinstance(value, str) else dict(value)
    return found


def _found(batches: Iterator[pa.RecordBatch]) -> Iterator[str]:
    return (found for batch in batches for found in batch.column(0).to_pylist() if found)
