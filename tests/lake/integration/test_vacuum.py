"""Replaced files leave the disk, and nothing that a commit or the present version needs does."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
from deltalake import DeltaTable

from promptmill.lake import vacuum as vacuuming
from promptmill.lake.compaction import compact
from promptmill.lake.ports import Sink, TableName
from promptmill.lake.sink import DeltaSink
from promptmill.lake.table import TableSettings
from promptmill.lake.vacuum import vacuum, vacuum_table
from promptmill.runtime.errors import Misconfigured
from support.store import DeltaStore, batch, identities, record

pytestmark = pytest.mark.real

RECORDS = TableName.RECORDS
ROUNDS, COMMITS = 2, 50
HOUR_S = 3600
WORDS = ["".join(random.Random(n).choices("etaoinshrdlu", k=2 + n % 7)) for n in range(1000)]


@pytest.fixture
def store(tmp_path: Path) -> DeltaStore:
    """Ten commits of a record each, merged into one file."""
    store = DeltaStore(tmp_path / "store")
    fill(store, 0, 10)
    assert compact(str(store.folder / RECORDS), growth=1) == 10
    return store


def fill(store: DeltaStore, first: int, commits: int) -> None:
    """Store records of 2 KiB, one a commit."""
    sink = store.sink()
    sink.take_over([0])
    commit_one_by_one(sink, first, commits)


def commit_one_by_one(sink: Sink, first: int, commits: int) -> None:
    """Store records of 2 KiB, one a commit."""
    for at in range(first, first + commits):
        sink.commit(RECORDS, batch([(0, at, record(str(at), pad=2048))], {0: (at or None, at + 1)}))


def sink_with_checkpoints(folder: Path, every: int) -> DeltaSink:
    """A sink of a new store, which writes a checkpoint after so many commits."""
    sink = DeltaSink(str(folder), identities(), settings=TableSettings(checkpoint_every=every))
    sink.open()
    sink.take_over([0])
    return sink


def data_files(store: DeltaStore) -> set[Path]:
    """The Parquet files of the records on the disk, needed or not."""
    files = (store.folder / RECORDS).rglob("*.parquet")
    return {file for file in files if "_delta_log" not in file.parts}


def live_files(store: DeltaStore) -> set[Path]:
    """Those of the present version."""
    uris = DeltaTable(str(store.folder / RECORDS)).file_uris()
    return {Path(uri.removeprefix("file://")) for uri in uris}


def test_a_day_is_waited_for_by_default(store: DeltaStore) -> None:
    assert vacuum(str(store.folder)) == {name: [] for name in TableName}
    assert len(data_files(store)) == 11


def test_replaced_files_go_at_once_without_a_retention(store: DeltaStore) -> None:
    before = store.rows(RECORDS)
    assert len(vacuum(str(store.folder), 0, dry_run=True)[RECORDS]) == 10
    assert len(data_files(store)) == 11
    assert len(vacuum(str(store.folder), 0)[RECORDS]) == 10
    assert data_files(store) == live_files(store)
    assert store.rows(RECORDS) == before


def test_a_file_that_a_commit_in_progress_has_written_is_kept(store: DeltaStore) -> None:
    (live,) = live_files(store)
    written = live.with_name("part-of-a-commit-in-progress.parquet")
    written.write_bytes(live.read_bytes())
    vacuum_table(str(store.folder / RECORDS), 0)
    assert written.exists()


def test_sinks_go_on_over_a_vacuum(store: DeltaStore) -> None:
    sink = store.sink()
    sink.take_over([0])
    vacuum(str(store.folder), 0)
    sink.commit(RECORDS, batch([(0, 10, record("10"))], {0: (10, 11)}))
    assert len(store.rows(RECORDS)) == 11


def test_a_file_is_kept_for_the_retention_when_the_log_has_forgotten_its_replacement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three days old and replaced three hours ago, so a reader may have opened it in between."""
    store = DeltaStore(tmp_path / "store")
    fill(store, 0, 10)
    parts, log = data_files(store), store.folder / RECORDS / "_delta_log"
    now = time.time()
    for file in [*parts, *log.glob("*.json")]:
        os.utime(file, (now - 72 * HOUR_S,) * 2)
    monkeypatch.setattr("promptmill.lake.compaction.time.time", lambda: now - 3 * HOUR_S)
    compact(str(store.folder / RECORDS), growth=1)
    monkeypatch.undo()
    fill(store, 10, 60)  # with a checkpoint, without removals of more than two hours ago
    assert checkpoints(log)
    vacuum_table(str(store.folder / RECORDS), 24)
    assert parts <= data_files(store)
    for file in log.glob("*.json"):
        os.utime(file, (now - 48 * HOUR_S,) * 2)
    vacuum_table(str(store.folder / RECORDS), 24)
    assert not parts & data_files(store)


def test_the_disk_holds_at_most_twice_the_live_data_with_the_log(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    sink = sink_with_checkpoints(folder, 4)
    rng = random.Random(1)
    for number in range(ROUNDS * COMMITS):
        first = 10 * number
        placed = [(0, at, record(prose(rng))) for at in range(first, first + 10)]
        sink.commit(RECORDS, batch(placed, {0: (first or None, first + 10)}))
        if (number + 1) % COMMITS == 0:
            sink.compact(RECORDS)
            sink.vacuum(RECORDS, 0)
    store = DeltaStore(folder)
    on_disk = sum(file.stat().st_size for file in (folder / RECORDS).rglob("*") if file.is_file())
    assert on_disk <= 2 * sum(file.stat().st_size for file in live_files(store))
    assert len(store.rows(RECORDS)) == 10 * ROUNDS * COMMITS


def test_every_version_opens_when_superseded_checkpoints_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vacuuming, "CHECKPOINT_VERSIONS", 20)
    folder = tmp_path / "store"
    sink = sink_with_checkpoints(folder, 4)
    commit_one_by_one(sink, 0, 48)
    log = folder / RECORDS / "_delta_log"
    before = checkpoints(log)
    assert vacuum_table(str(folder / RECORDS), 24) == []
    assert before == list(range(3, 48, 4))
    assert len(vacuum_table(str(folder / RECORDS), 0, dry_run=True)) == 8
    assert checkpoints(log) == before
    vacuum_table(str(folder / RECORDS), 0)
    assert checkpoints(log) == [3, 23, 43, 47]
    commit_one_by_one(sink, 48, 2)
    uri = str(folder / RECORDS)
    assert [DeltaTable(uri, version=v).count() for v in range(2, 52)] == list(range(1, 51))


def prose(rng: random.Random) -> str:
    """About 2 KiB that compress as text does."""
    words = rng.choices(WORDS, k=340)
    return " ".join(words)


def checkpoints(log: Path) -> list[int]:
    """The versions that have a checkpoint."""
    return sorted(int(file.name[:20]) for file in log.glob("*.checkpoint.parquet"))


def test_a_store_without_tables_has_nothing_to_delete(tmp_path: Path) -> None:
    assert vacuum(str(tmp_path)) == {}


def test_a_negative_retention_is_refused(store: DeltaStore) -> None:
    with pytest.raises(Misconfigured, match="-1 hours: it must be at least 0"):
        vacuum(str(store.folder), -1)


def test_an_existing_table_gets_the_retention_of_its_log(store: DeltaStore) -> None:
    DeltaSink(
        str(store.folder), identities(), settings=TableSettings(log_retention="interval 7 days")
    ).open()
    properties = DeltaTable(str(store.folder / RECORDS)).metadata().configuration
    assert properties["delta.logRetentionDuration"] == "interval 7 days"
    version = DeltaTable(str(store.folder / RECORDS)).version()
    store.sink()
    assert DeltaTable(str(store.folder / RECORDS)).version() == version
