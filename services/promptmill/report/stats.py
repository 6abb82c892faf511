"""All figures about a store, from one version of each table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from pyarrow.dataset import field as column

from promptmill.lake.dead_letters import scan_letters
from promptmill.lake.ports import TableName
from promptmill.lake.reader import DeltaReader, Snapshot
from promptmill.lake.tables.dead_letters import DEAD
from promptmill.report.counts import Group, RunCounts, count_groups, count_runs, runs_of
from promptmill.report.duplicates import Duplicates, duplicates
from promptmill.report.scores import Correlation, Distribution, correlations, distributions
from promptmill.report.scratch import Scratch
from promptmill.report.timeline import Timeline, timeline
from promptmill.report.usage import Price, Usage, lengths, usage
from promptmill.runtime.errors import Misconfigured


@dataclass(frozen=True, slots=True)
class Wanted:
    """The figures to collect.

    Attributes:
        run: collect only figures of this run.
        prices: prices per million tokens, by model.
        examples: the number of examples of exact, and of near duplicates.
    """

    run: str | None = None
    prices: Mapping[str, Price] = field(default_factory=dict)
    examples: int = 3


@dataclass(frozen=True, slots=True)
class Stats:
    """The figures about a store.

    Attributes:
        run: the run that they describe; ``None`` for all runs.
        versions: the versions of the existing tables.
        records: number of records; ``scores`` and ``correlations`` describe their chosen answers.
        groups: decisions by label, and by tag under ``tag``.
        dead_letters: numbers of open dead letters, by stage and reason.
    """

    run: str | None
    versions: dict[str, int]
    records: int
    runs: tuple[RunCounts, ...]
    groups: dict[str, tuple[Group, ...]]
    scores: tuple[Distribution, ...]
    correlations: tuple[Correlation, ...]
    timeline: Timeline
    duplicates: Duplicates
    lengths: tuple[Distribution, ...]
    usage: tuple[Usage, ...]
    dead_letters: dict[str, int]


def collect(store: str, wanted: Wanted) -> Stats:
    """Read the tables under this URI once, and compute all figures.

    Raises:
        Misconfigured: there is no table, or the run or the model of a price is unknown.
        Unavailable: the storage does not answer.
    """
    reader = DeltaReader(store)
    snapshots = {name: reader.snapshot(name) for name in TableName}
    if not any(snapshots.values()):
        raise Misconfigured(
            f"{store} has no tables yet, because nothing has been stored; start "
            "`promptmill run store`, or point PROMPTMILL_STORE at the right folder"
        )
    check_run(reader, wanted.run, store)
    records, rejects = snapshots[TableName.RECORDS], snapshots[TableName.REJECTS]
    with Scratch(wanted.run) as scratch:
        scratch.load(TableName.RECORDS, records)
        scratch.load(TableName.REJECTS, rejects)
        ((number,),) = scratch.rows("SELECT count(*) FROM records")
        return Stats(
            run=wanted.run,
            versions={str(n): s.version for n, s in snapshots.items() if s is not None},
            records=number,
            runs=count_runs(scratch, reader, wanted.run),
            groups=count_groups(scratch),
            scores=distributions(scratch),
            correlations=correlations(scratch),
            timeline=timeline(scratch),
            duplicates=duplicates(scratch, rejects, records, wanted.examples),
            lengths=lengths(scratch),
            usage=usage(scratch, wanted.prices),
            dead_letters=_dead(snapshots[TableName.DEAD_LETTERS], wanted.run),
        )


def check_run(reader: DeltaReader, run: str | None, store: str) -> None:
    """Check that the tables contain the run; ``None`` means all runs.

    Raises:
        Misconfigured: the run is unknown.
    """
    known = runs_of(reader) if run is not None else set()
    if run is not None and run not in known:
        raise Misconfigured(
            f"--run {run!r}: {store} has no such run; choose one of "
            f"{', '.join(sorted(known)) or 'none'}"
        )


def _dead(snapshot: Snapshot | None, run: str | None) -> dict[str, int]:
    if snapshot is None:
        return {}
    condition = None if run is None else column("run") == run
    found = Counter[str]()
    for batch in scan_letters(snapshot, ["stage", "reason"], condition, state=DEAD):
        pairs = zip(*(values.to_pylist() for values in batch.columns), strict=True)
        found.update(f"{stage}: {reason}" for stage, reason in pairs)
    return dict(found.most_common())
