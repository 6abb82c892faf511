"""Vacuum: deleting files that compaction replaced some time ago."""

from __future__ import annotations

from deltalake import DeltaTable

from promptmill.lake.ports import TableName
from promptmill.lake.table import StorageOptions, translated
from promptmill.runtime.errors import Misconfigured

RETENTION_HOURS = 24

COMMIT_HOURS = 2
"""The hours for which a file that the log does not name may belong to a commit in progress."""


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

    Two kinds of files are deleted: those that the log has replaced for ``retention_hours``, and
    those that it has never named, which an interrupted commit or a compaction that lost a race
    has left. The latter are kept for at least :data:`COMMIT_HOURS`.

    Raises:
        Misconfigured: the number of hours is negative.
        Unavailable: the storage does not answer.
    """
    if retention_hours < 0:
        raise Misconfigured(
            f"the retention of replaced files is {retention_hours} hours: it must be at least 0"
        )
    with translated(uri):
        table = DeltaTable(uri, storage_options=None if options is None else dict(options))
        removed = []
        if retention_hours < COMMIT_HOURS:
            removed += table.vacuum(
                retention_hours, dry_run=dry_run, enforce_retention_duration=False
            )
        hours = max(retention_hours, COMMIT_HOURS)
        removed += table.vacuum(hours, dry_run=dry_run, enforce_retention_duration=False, full=True)
    return list(dict.fromkeys(removed))
