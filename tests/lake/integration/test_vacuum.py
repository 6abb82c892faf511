"""Replaced files leave the disk, and nothing that a commit or the present version needs does."""

from __future__ import annotations

from pathlib import Path

import pytest
from deltalake import DeltaTable

from promptmill.lake.compaction import compact
from promptmill.lake.ports import TableName
from promptmill.lake.sink import DeltaSink
from promptmill.lake.table import TableSettings
from promptmill.lake.vacuum import vacuum, vacuum_table
from promptmill.runtime.errors import Misconfigured
from support.store import DeltaStore, batch, identities, record

pytestmark = pytest.mark.real

RECORDS = TableName.RECORDS
ROUNDS, COMMITS = 2, 50


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
    for at in range(first, first + commits):
        sink.commit(RECORDS, batch([(0, at, record(str(at), pad=2048))], {0: (at or None, at + 1)}))


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


def test_the_disk_holds_at_most_twice_the_live_data(tmp_path: Path) -> None:
    store = DeltaStore(tmp_path / "store")
    for number in range(ROUNDS):
        fill(store, number * COMMITS, COMMITS)
        compact(str(store.folder / RECORDS))
        vacuum_table(str(store.folder / RECORDS), 0)
    on_disk = sum(file.stat().st_size for file in data_files(store))
    assert on_disk <= 2 * sum(file.stat().st_size for file in live_files(store))
    assert len(store.rows(RECORDS)) == ROUNDS * COMMITS


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
