"""The benefit of the filter: the share of correct answers among all and among the accepted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.dataset as ds

from promptmill.lake.ports import TableName
from promptmill.lake.reader import DeltaReader
from promptmill_demo.tasks import is_correct

TRUTH = ("family", "kind", "subject", "answer")
"""Tags of a prompt whose answers a program can check; prompts without them are ignored."""


@dataclass(slots=True)
class Tally:
    """Counts of one family of tasks, or of all families."""

    prompts: int = 0
    answers: int = 0
    right_answers: int = 0
    records: int = 0
    right_records: int = 0

    def as_json(self) -> dict[str, float | int | None]:
        """Return the shares and counts; a share is ``None`` if its denominator is zero."""
        return {
            "accuracy_all": _share(self.right_answers, self.answers),
            "accuracy_accepted": _share(self.right_records, self.records),
            "kept": _share(self.records, self.prompts),
            "kept_of_answers": _share(self.records, self.answers),
            "prompts": self.prompts,
            "answers": self.answers,
            "records": self.records,
        }


def accuracy_report(store: str, run: str) -> dict[str, Any]:
    """Return the accuracy of a run by ground truth, from the latest version of the tables.

    Returns:
        ``accuracy_all`` (share of correct answers among all answers to settled prompts),
        ``accuracy_accepted`` (share of correct answers among records), ``kept`` (records per
        prompt), ``kept_of_answers`` (records per answer), the counts, and the same figures for
        each family in ``by_family``.
    """
    reader, total, families = DeltaReader(store), Tally(), dict[str, Tally]()
    for row in _decisions(reader, run):
        tags = json.loads(row["tags"] or "{}")
        if all(name in tags for name in TRUTH):
            for tally in (total, families.setdefault(tags["family"], Tally())):
                _count(tally, row, tags)
    by_family = {name: tally.as_json() for name, tally in sorted(families.items())}
    return {**total.as_json(), "by_family": by_family}


def _count(tally: Tally, row: dict[str, Any], tags: dict[str, str]) -> None:
    texts = [candidate["text"] for candidate in row["candidates"] or ()]
    tally.prompts += bool(texts)
    tally.answers += len(texts)
    tally.right_answers += sum(is_correct(text, tags) for text in texts)
    if "chosen" in row:
        tally.records += 1
        tally.right_records += is_correct(row["chosen"], tags)


def _decisions(reader: DeltaReader, run: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of records and rejects; only the first record of a decision has candidates."""
    yield from _rows(reader, TableName.RECORDS, run, ("tags", "candidates", "chosen"))
    yield from _rows(reader, TableName.REJECTS, run, ("tags", "candidates"))


def _rows(
    reader: DeltaReader, table: TableName, run: str, columns: Sequence[str]
) -> Iterator[dict[str, Any]]:
    snapshot = reader.snapshot(table)
    if snapshot is not None:
        for batch in snapshot.scan(columns, ds.field("run") == run):
            yield from batch.to_pylist()


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
