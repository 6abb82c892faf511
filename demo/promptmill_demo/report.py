"""The report of a run, read from the store's tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow.dataset as ds

from promptmill.lake.dead_letters import scan_letters
from promptmill.lake.ports import TableName
from promptmill.lake.reader import DeltaReader
from promptmill.lake.tables.dead_letters import DEAD

BUCKETS = 12
BAR_WIDTH = 40
SAMPLES = 3


@dataclass(slots=True)
class Report:
    """The figures of a run.

    Attributes:
        run: name of the run.
        accepted, rejected, dead: number of prompts by outcome.
        reasons: number of prompts that were not accepted, by reason.
        rewards: the rewards of all graded answers.
        accepted_rewards: the rewards of the records.
        answers: number of generated answers.
        tokens: number of generated tokens.
        samples: the best records, as (question, answer, reward).
    """

    run: str
    accepted: int = 0
    rejected: int = 0
    dead: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    rewards: list[float] = field(default_factory=list)
    accepted_rewards: list[float] = field(default_factory=list)
    answers: int = 0
    tokens: int = 0
    samples: list[tuple[str, str, float]] = field(default_factory=list)

    @property
    def settled(self) -> int:
        """The number of prompts with an outcome."""
        return self.accepted + self.rejected + self.dead


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of the demo.

    Attributes:
        report: the figures of the run.
        accuracy: see :func:`~promptmill_demo.accuracy.accuracy_report`.
        seconds: time from the first publication to the last outcome; ``None`` if everything had
            been settled before.
        first_record_s: seconds from the first publication to the first record in the table.
    """

    report: Report
    accuracy: Mapping[str, Any]
    seconds: float | None
    first_record_s: float | None


def read_report(store: str, run: str) -> Report:
    """Read the report of a run from the latest version of each table."""
    reader, report = DeltaReader(store), Report(run)
    _read_records(reader, report)
    _read_rejects(reader, report)
    dead = _read_dead(reader, run)
    report.dead = len({letter["prompt_id"] for letter in dead})
    report.reasons.update(f"dead-lettered: {letter['reason']}" for letter in dead)
    return report


def _read_dead(reader: DeltaReader, run: str) -> list[dict[str, Any]]:
    snapshot = reader.snapshot(TableName.DEAD_LETTERS)
    if snapshot is None:
        return []
    columns, of_run = ("prompt_id", "reason"), ds.field("run") == run
    batches = scan_letters(snapshot, columns, of_run, state=DEAD)
    return [row for batch in batches for row in batch.to_pylist()]


def _read_records(reader: DeltaReader, report: Report) -> None:
    columns = ("prompt_id", "messages", "chosen", "reward", "candidates")
    rows = list(_rows(reader, TableName.RECORDS, report.run, columns))
    report.accepted = len({row["prompt_id"] for row in rows})
    for row in rows:
        report.accepted_rewards.append(row["reward"])
        _count_answers(report, row["candidates"] or ())
    best = sorted(rows, key=lambda row: row["reward"], reverse=True)[:SAMPLES]
    report.samples = [(_question(row["messages"]), row["chosen"], row["reward"]) for row in best]


def _read_rejects(reader: DeltaReader, report: Report) -> None:
    columns = ("prompt_id", "reason", "candidates")
    rows = list(_rows(reader, TableName.REJECTS, report.run, columns))
    report.rejected = len({row["prompt_id"] for row in rows})
    for row in rows:
        report.reasons[row["reason"]] += 1
        _count_answers(report, row["candidates"] or ())


def _count_answers(report: Report, candidates: Sequence[dict[str, Any]]) -> None:
    report.answers += len(candidates)
    report.tokens += sum(candidate["completion_tokens"] for candidate in candidates)
    report.rewards += [c["reward"] for c in candidates if c["reward"] is not None]


def _rows(
    reader: DeltaReader, table: TableName, run: str, columns: Sequence[str]
) -> Iterator[dict[str, Any]]:
    snapshot = reader.snapshot(table)
    if snapshot is not None:
        for batch in snapshot.scan(columns, ds.field("run") == run):
            yield from batch.to_pylist()


def _question(messages: Sequence[dict[str, str]]) -> str:
    return [m["content"] for m in messages if m["role"] == "user"][-1]


def histogram(all_values: Sequence[float], accepted: Sequence[float]) -> list[str]:
    """Return the lines of a text histogram: ``#`` for accepted answers, ``.`` for others."""
    if not all_values:
        return ["  (no answers were graded)"]
    low, high = min(all_values), max(all_values)
    width = (high - low) / BUCKETS or 1.0
    counts, kept = _bucketed(all_values, low, width), _bucketed(accepted, low, width)
    longest = max(counts)
    lines = []
    for index, (count, of_them) in enumerate(zip(counts, kept, strict=True)):
        marks = round(of_them / longest * BAR_WIDTH)
        rest = round(count / longest * BAR_WIDTH) - marks
        lines.append(f"  {low + index * width:7.2f} {'#' * marks}{'.' * max(0, rest)} {count:,}")
    return lines


def _bucketed(values: Sequence[float], low: float, width: float) -> list[int]:
    counts = [0] * BUCKETS
    for value in values:
        counts[min(BUCKETS - 1, max(0, int((value - low) / width)))] += 1
    return counts
