"""Comparing the columns of a table with the rows that this version writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema
from deltalake.exceptions import CommitFailedError

from promptmill.lake.table import CONFLICT_TRIES, TableHandle, translated
from promptmill.runtime.errors import Misconfigured, Unavailable

DELETION_VECTORS: Final = "delta.enableDeletionVectors"


def check_table(
    table: DeltaTable, schema: pa.Schema, partition_columns: Sequence[str] = ()
) -> None:
    """Compare an existing table with the rows that this version writes.

    Columns that other programs have added are kept, and new rows have nulls in them.

    Raises:
        Misconfigured: a column is missing, has another type or cannot be null, or the table is
            partitioned in another way or has deletion vectors.
    """
    found, uri = pa.schema(table.schema().to_arrow()), table.table_uri
    if old := [c.name for c in found if _has_map(c.type) and c.name in schema.names]:
        raise Misconfigured(
            f"{uri}: the columns {', '.join(old)} hold maps, which many readers cannot open: an "
            "earlier version of promptmill created the table; use that version to export its "
            "rows, and set PROMPTMILL_STORE to a new folder"
        )
    if wrong := [_described(c, found) for c in schema if not _accepts(found, c)]:
        raise Misconfigured(
            f"{uri}: the columns {', '.join(wrong)} are missing or have another type: another "
            "version of promptmill created or changed the table; use that version, or set "
            "PROMPTMILL_STORE to a new folder"
        )
    if foreign := [c.name for c in found if c.name not in schema.names and not c.nullable]:
        raise Misconfigured(
            f"{uri}: promptmill does not know the columns {', '.join(foreign)}, and they may not "
            "be null: drop them, or make them nullable"
        )
    _check_layout(table, partition_columns)


def _check_layout(table: DeltaTable, partition_columns: Sequence[str]) -> None:
    metadata = table.metadata()
    if list(metadata.partition_columns) != list(partition_columns):
        raise Misconfigured(
            f"{table.table_uri}: the table is partitioned by {metadata.partition_columns}, and "
            f"this version partitions it by {list(partition_columns)}: use the version that "
            "created it, or set PROMPTMILL_STORE to a new folder"
        )
    if metadata.configuration.get(DELETION_VECTORS) == "true":
        raise Misconfigured(
            f"{table.table_uri}: {DELETION_VECTORS} is true, and many readers cannot open such a "
            f"table: set {DELETION_VECTORS} to false"
        )


def _has_map(kind: pa.DataType) -> bool:
    """Return whether a column holds a map at any depth."""
    if pa.types.is_map(kind):
        return True
    parts = [kind.field(i) for i in range(kind.num_fields)]
    return any(_has_map(part.type) for part in parts)


def _accepts(found: pa.Schema, column: pa.Field) -> bool:
    """Return whether the table accepts this column; a missing nullable column is added later."""
    if column.name not in found.names:
        return bool(column.nullable)
    existing = found.field(column.name)
    return bool(existing.type.equals(column.type)) and (existing.nullable or not column.nullable)


def _described(column: pa.Field, found: pa.Schema) -> str:
    if column.name not in found.names:
        return str(column.name)
    return f"{column.name} (found {found.field(column.name)}, needed {column})"


def add_missing_columns(handle: TableHandle, schema: pa.Schema) -> None:
    """Add the nullable columns that this version writes and the table lacks."""

    def attempt(table: DeltaTable) -> bool:
        known = set(pa.schema(table.schema().to_arrow()).names)
        missing = [column for column in schema if column.name not in known and column.nullable]
        if missing:
            table.alter.add_columns(
                Schema.from_arrow(pa.schema(missing)).fields,
                commit_properties=CommitProperties(max_commit_retries=0),
            )
        return not missing

    _alter(handle, attempt)


def set_properties(handle: TableHandle, properties: Mapping[str, str]) -> None:
    """Set the table properties that have a different value."""

    def attempt(table: DeltaTable) -> bool:
        known = table.metadata().configuration
        wrong = {name: value for name, value in properties.items() if known.get(name) != value}
        if wrong:
            table.alter.set_table_properties(
                wrong,
                raise_if_not_exists=False,
                commit_properties=CommitProperties(max_commit_retries=0),
            )
        return not wrong

    _alter(handle, attempt)


def _alter(handle: TableHandle, attempt: Callable[[DeltaTable], bool]) -> None:
    """Repeat the attempt until nothing is left to do; if several sinks try, one succeeds."""
    for _ in range(CONFLICT_TRIES):
        with translated(handle.uri), suppress(CommitFailedError):
            if attempt(handle.latest()):
                return
        handle.forget()
    raise Unavailable(
        f"{handle.uri}: other writers committed first in all {CONFLICT_TRIES} attempts"
    )


def fitted(rows: pa.Table, table: DeltaTable) -> pa.Table:
    """Return the rows with nulls for the columns that a newer version has added to the table.

    The library refuses rows with fewer columns, which would end every store worker that is not yet
    upgraded.
    """
    wanted = pa.schema(table.schema().to_arrow())
    if wanted.names == rows.schema.names:
        return rows
    columns = [
        rows.column(column.name)
        if column.name in rows.schema.names
        else pa.nulls(rows.num_rows, column.type)
        for column in wanted
    ]
    return pa.Table.from_arrays(columns, schema=_kept_types(wanted, rows.schema))


def _kept_types(wanted: pa.Schema, given: pa.Schema) -> pa.Schema:
    return pa.schema([given.field(c.name) if c.name in given.names else c for c in wanted])
