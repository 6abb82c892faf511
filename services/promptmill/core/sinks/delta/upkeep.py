"""Removing the files that no version of a table needs any more."""

from __future__ import annotations

from deltalake import DeltaTable

from promptmill.core.errors import Misconfigured
from promptmill.core.sinks.base import TableName
from promptmill.core.sinks.delta.table import StorageOptions, translated

MIN_RETENTION_HOURS = 2


def vacuum(
    folder: str,
    retention_hours: int = 24,
    *,
    dry_run: bool = False,
    storage_options: StorageOptions = None,
) -> dict[TableName, list[str]]:
    """Delete the files that no version of the last ``retention_hours`` needs; which, by table.

    Nothing calls this by itself: a reader of an older version would lose its files.

    Raises:
        Misconfigured: less than two hours; a commit under way could lose its files.
    """
    if retention_hours < MIN_RETENTION_HOURS:
        raise Misconfigured(
            f"retention_hours is {retention_hours}: it must be at least {MIN_RETENTION_HOURS}, so "
            "that a commit in progress cannot lose its files"
        )
    options = None if storage_options is None else dict(storage_options)
    removed = {}
    for name in TableName:
        uri = f"{folder.rstrip('/')}/{name}"
        with translated(uri):
            removed[name] = DeltaTable(uri, storage_options=options).vacuum(
                retention_hours, dry_run=dry_run, enforce_retention_duration=False, full=True
            )
    return removed
