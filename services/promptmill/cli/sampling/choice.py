"""The choice of a sample's rows: those whose ids have the smallest digests with the seed.

The choice depends only on the ids and the seed. Compaction and the order of files do not change it,
and a larger sample begins with the rows of a smaller one.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import xxhash

from promptmill.export.selection import Selection
from promptmill.lake.ports import TableName
from promptmill.lake.reader import DeltaReader, Snapshot
from promptmill.report.stats import check_run

REJECTS: Final = "rejects"
RECORDS: Final = "records"

_COMMON: Final = ("prompt_id", "run", "created_at", "messages", "messages_json", "generated_by")
_COLUMNS: Final = {
    TableName.RECORDS: (
        *("record_id", "kind", *_COMMON, "policy_version", "chosen", "scores", "reward"),
        *("rejected", "rejected_scores", "rejected_reward", "margin"),
    ),
    TableName.REJECTS: (*_COMMON, "policy_version", "reason", "detail", "candidates"),
}
_IDS: Final = {TableName.RECORDS: "record_id", TableName.REJECTS: "decision_id"}


@dataclass(frozen=True, slots=True)
class Sample:
    """The description of a sample.

    Attributes:
        kind: ``records`` of both kinds, ``sft``, ``preference`` or ``rejects``.
        run: take only rows of this run.
        where: an SQL condition over the columns of the table, as for an export.
        count: the number of rows.
        seed: the seed; another seed gives another sample.
    """

    kind: str = RECORDS
    run: str | None = None
    where: str | None = None
    count: int = 10
    seed: int = 0

    @property
    def table(self) -> TableName:
        """The table that holds the rows."""
        return TableName.REJECTS if self.kind == REJECTS else TableName.RECORDS


def choose(store: str, sample: Sample) -> list[dict[str, Any]]:
    """Return the rows of a sample, in an order that depends on the seed.

    Raises:
        Misconfigured: the table or the run does not exist, or the condition is not one.
    """
    kinds = () if sample.kind in {RECORDS, REJECTS} else (sample.kind,)
    selection = Selection(run=sample.run, kinds=kinds, where=sample.where)
    snapshot = selection.open(store, sample.table)
    check_run(DeltaReader(store), sample.run, store)
    chosen = heapq.nsmallest(sample.count, _ranked(snapshot, selection, sample))
    places = [place for _, place in chosen]
    found = snapshot.rows_at(places, _COLUMNS[sample.table])
    return [found[place] for place in places]


def _ranked(
    snapshot: Snapshot, selection: Selection, sample: Sample
) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield the rank of each selected row, with its shard and offset."""
    columns = (_IDS[sample.table], "shard", "shard_offset")
    for batch in selection.batches(snapshot, columns):
        values = (column.to_pylist() for column in batch.columns)
        for row_id, shard, offset in zip(*values, strict=True):
            yield xxhash.xxh3_64_intdigest(row_id.encode(), seed=sample.seed), (shard, offset)
