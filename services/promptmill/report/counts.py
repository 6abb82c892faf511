"""Counts by run and outcome, and by every label that decisions carry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from promptmill.lake.counts import Counts, RunCounter
from promptmill.lake.ports import TableName
from promptmill.lake.reader import DeltaReader
from promptmill.report.scratch import Scratch

MOST: Final = 20
"""The number of a label's values to show; the others are added up."""

MOST_TAGS: Final = 40

LABELS: Final = ("kind", "policy", "model", "grader", "category", "licence")
"""The labels by which decisions are counted; rejects have no kind."""

_OWN_TAGS: Final = ("custom_id", "promptmill.%")
"""The tags that distinguish prompts or that promptmill itself sets."""


@dataclass(frozen=True, slots=True)
class RunCounts:
    """The prompts of a run by outcome, and its records."""

    run: str
    published: int
    accepted: int
    rejected: int
    dead: int
    pending: int
    records: int


@dataclass(frozen=True, slots=True)
class Group:
    """The decisions with one value of a label.

    Attributes:
        accepted: number of prompts with at least one accepted answer.
        rejected: number of prompts without an accepted answer.
        records: number of records; an accepted prompt can have several.
    """

    value: str
    records: int
    accepted: int
    rejected: int

    @property
    def acceptance(self) -> float | None:
        """The share of accepted prompts; ``None`` if there are no decisions."""
        total = self.accepted + self.rejected
        return self.accepted / total if total else None


def count_runs(scratch: Scratch, reader: DeltaReader, only: str | None) -> tuple[RunCounts, ...]:
    """Count the outcomes of every run in the tables; the runs are sorted by name."""
    records = dict(scratch.rows("SELECT run, count(*) FROM records GROUP BY run"))
    runs = {only} if only is not None else runs_of(reader)
    found = ((run, _outcomes(reader, run)) for run in sorted(runs))
    return tuple(
        RunCounts(
            run, c.published, c.accepted, c.rejected, c.dead, c.pending, int(records.get(run, 0))
        )
        for run, c in found
    )


def runs_of(reader: DeltaReader) -> set[str]:
    """Return the names of all runs in the tables."""
    found: set[str] = set()
    for name in TableName:
        if (snapshot := reader.snapshot(name)) is not None:
            query = "SELECT DISTINCT run FROM stored WHERE run IS NOT NULL"
            for batch in snapshot.texts(query):
                found.update(batch)
    return found


def _outcomes(reader: DeltaReader, run: str) -> Counts:
    """Return the counts that sinks keep or, for tables without them, those of the rows."""
    kept = [reader.run_count(name, run) for name in TableName]
    known = [count.prompts for count in kept if count is not None]
    if len(known) < len(kept):
        return RunCounter(reader, run).counts()
    published, accepted, rejected, dead = known
    return Counts(
        published, accepted, rejected, dead, max(0, published - accepted - rejected - dead)
    )


def count_groups(scratch: Scratch) -> dict[str, tuple[Group, ...]]:
    """Count the decisions by label; each label's most frequent values are first."""
    return {label: _by_label(scratch, label) for label in LABELS} | {"tag": _by_tag(scratch)}


def _by_label(scratch: Scratch, label: str) -> tuple[Group, ...]:
    rejects = "" if label == "kind" else f"UNION ALL SELECT {label}, 0, 0, 1 FROM rejects"
    query = f"""
        WITH decisions(value, records, accepted, rejected) AS (
            SELECT {label}, 1, (ordinal = 0)::INT, 0 FROM records {rejects}
        )
        SELECT coalesce(value, '') AS value, sum(records), sum(accepted), sum(rejected)
        FROM decisions GROUP BY ALL ORDER BY sum(records) + sum(rejected) DESC, value
    """
    groups = [Group(value, *map(int, numbers)) for value, *numbers in scratch.rows(query)]
    named = [group for group in groups if group.value]
    return _shortened(groups) if named else ()


def _by_tag(scratch: Scratch) -> tuple[Group, ...]:
    query = """
        WITH decisions AS (
            SELECT tags, count(*) AS records, sum((ordinal = 0)::INT) AS accepted, 0 AS rejected
            FROM records GROUP BY tags
            UNION ALL SELECT tags, 0, 0, count(*) FROM rejects GROUP BY tags
        ), tagged AS (
            SELECT unnest(map_entries(from_json(tags, '"MAP(VARCHAR, VARCHAR)"'))) AS tag,
                records, accepted, rejected
            FROM decisions WHERE tags <> '{}'
        )
        SELECT tag.key || '=' || tag.value AS value, sum(records), sum(accepted), sum(rejected)
        FROM tagged WHERE tag.key <> ? AND tag.key NOT LIKE ?
        GROUP BY ALL ORDER BY sum(records) + sum(rejected) DESC, value LIMIT ?
    """
    found = scratch.rows(query, [*_OWN_TAGS, MOST_TAGS])
    return tuple(Group(value, *map(int, numbers)) for value, *numbers in found)


def _shortened(groups: list[Group]) -> tuple[Group, ...]:
    shown, rest = groups[:MOST], groups[MOST:]
    if rest:
        sums = (sum(getattr(g, name) for g in rest) for name in ("records", "accepted", "rejected"))
        shown.append(Group(f"{len(rest):,} others", *sums))
    return tuple(shown)
