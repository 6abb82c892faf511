"""Vacuum: files that a table no longer needs are deleted from the disk after a while.

The library keeps a replaced file as long as the log remembers the replacement, which is less than
the retention, and otherwise goes by the file's age. So the files of the version that was the
latest one at the beginning of the retention are kept explicitly. A file that was replaced since
then either belongs to it or is younger than the retention.

Checkpoints are deleted too. Each repeats the whole state of the table, so their bytes grow with
the square of the number of commits, and the library keeps all of them as long as the log.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from deltalake import DeltaTable

from promptmill.lake.ports import TableName
from promptmill.lake.table import StorageOptions, translated
from promptmill.runtime.errors import Misconfigured

RETENTION_HOURS = 24

COMMIT_HOURS = 2
"""The hours for which a file that the log does not name may belong to a commit in progress."""

CHECKPOINT_HOURS = 1
"""How long a checkpoint is kept that has a successor, unless replaced files are kept shorter."""

CHECKPOINT_VERSIONS = 1000
"""Of the old checkpoints, one for so many versions is kept, from which these are opened."""

NEWEST_CHECKPOINTS = 2

_CHECKPOINT: Final = re.compile(r"(?:^|/)(\d{20})\.checkpoint\.parquet$")


def vacuum(
    folder: str,
    retention_hours: int = RETENTION_HOURS,
    *,
    dry_run: bool = False,
    storage_options: StorageOptions = None,
) -> dict[TableName, list[str]]:
    """Delete the files of all existing tables that are no longer needed; return them by table.

    Args:
        folder: URI or path of the store.
        retention_hours: age of the replacement from which a replaced file is deleted. A reader
            that opened a table earlier may still need it.
        dry_run: delete nothing.

    Raises:
        Misconfigured: the number of hours is negative.
        Unavailable: the storage does not answer.
    """
    options = None if storage_options is None else dict(storage_options)
    removed = {}
    for name in TableName:
        uri = f"{folder.rstrip('/')}/{name}"
        with translated(uri):
            exists = DeltaTable.is_deltatable(uri, options)
        if exists:
            removed[name] = vacuum_table(uri, retention_hours, dry_run=dry_run, options=options)
    return removed


def vacuum_table(
    uri: str,
    retention_hours: int = RETENTION_HOURS,
    *,
    dry_run: bool = False,
    options: StorageOptions = None,
) -> list[str]:
    """Delete the files of one table that are no longer needed, and return their paths.

    Three kinds of files are deleted: those that the log has replaced for ``retention_hours``,
    those that it has never named, which an interrupted commit or a compaction that lost a race
    has left, and superseded checkpoints. The second are kept for at least :data:`COMMIT_HOURS`.

    Raises:
        Misconfigured: the number of hours is negative.
        Unavailable: the storage does not answer.
    """
    if retention_hours < 0:
        raise Misconfigured(
            f"the retention of replaced files is {retention_hours} hours: it must be at least 0"
        )
    given = None if options is None else dict(options)
    with translated(uri):
        table = DeltaTable(uri, storage_options=given)
        removed = []
        if retention_hours < COMMIT_HOURS:
            removed += table.vacuum(
                retention_hours, dry_run=dry_run, enforce_retention_duration=False
            )
        hours = max(retention_hours, COMMIT_HOURS)
        removed += table.vacuum(
            hours,
            dry_run=dry_run,
            enforce_retention_duration=False,
            full=True,
            keep_versions=[_version_before(uri, hours, given)],
        )
        removed += _thin_checkpoints(table, given, min(retention_hours, CHECKPOINT_HOURS), dry_run)
    return list(dict.fromkeys(removed))


def _version_before(uri: str, hours: int, options: dict[str, str] | None) -> int:
    """Return the version that was the latest one so many hours ago, or the earliest there is."""
    table = DeltaTable(uri, storage_options=options)
    table.load_as_version(datetime.now(UTC) - timedelta(hours=hours))
    return table.version()


class _Checkpoint(NamedTuple):
    version: int
    written_s: float
    path: str


def _thin_checkpoints(
    table: DeltaTable, options: dict[str, str] | None, hours: int, dry_run: bool
) -> list[str]:
    """Delete checkpoints that have had a successor for so many hours; return their paths.

    A version whose checkpoint is gone is opened from an earlier one and the commits since, which
    the log keeps back to its first checkpoint.
    """
    from deltalake.fs import DeltaStorageHandler
    from pyarrow.fs import FileSelector

    storage = DeltaStorageHandler(table.table_uri, options)
    found = [
        _Checkpoint(int(match[1]), file.mtime.timestamp(), file.path)
        for file in storage.get_file_info_selector(FileSelector("_delta_log"))
        if (match := _CHECKPOINT.search(file.path))
    ]
    paths = [each.path for each in _superseded(sorted(found), time.time() - hours * 3600)]
    if not dry_run:
        for path in paths:
            storage.delete_file(path)
    return paths


def _superseded(checkpoints: Sequence[_Checkpoint], before_s: float) -> Iterator[_Checkpoint]:
    """Yield those that had a successor at this moment and are not kept for old versions."""
    kept = -1
    for number, each in enumerate(checkpoints[:-NEWEST_CHECKPOINTS], 1):
        thousand = each.version // CHECKPOINT_VERSIONS
        if thousand == kept and checkpoints[number].written_s <= before_s:
            yield each
        kept = thousand
