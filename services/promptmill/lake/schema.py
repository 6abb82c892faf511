"""The columns of a table against those of the rows that this version writes."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema
from deltalake.exceptions import CommitFailedError

from promptmill.lake.table import CONFLICT_TRIES, TableHandle, translated
from promptmill.runtime.errors import Misconfigured, Unavailable


def check_schema(uri: str, table: DeltaTable, schema: pa.Schema) -> None:
    """Compare the columns of an existing table with those that rows are built for.

    Raises:
        Misconfigured: a column is missing or has another type.
    """
    found = {field.name: field.type for field in pa.schema(table.schema().to_arrow())}
    wrong = [f.name for f in schema if not _same(found.get(f.name), f.type)]
    if wrong:
        raise Misconfigured(
            f"{uri}: the columns {', '.join(wrong)} are missing or have another type: another "
            "version of promptmill created the table; use that version, or set PROMPTMILL_STORE "
            "to a new folder"
        )


def add_missing_columns(handle: TableHandle, schema: pa.Schema) -> DeltaTable:
    """The table with the columns that this version adds and that may be null.

    An older version made it. Several sinks may try at once: one does it, the others look again.
    """
    for _ in range(CONFLICT_TRIES):
        table = handle.latest()
        known = set(pa.schema(table.schema().to_arrow()).names)
        missing = [column for column in schema if column.name not in known and column.nullable]
        if not missing:
            return table
        with translated(handle.uri), suppress(CommitFailedError):
            table.alter.add_columns(
                Schema.from_arrow(pa.schema(missing)).fields,
                commit_properties=CommitProperties(max_commit_retries=0),
            )
        handle.forget()
    raise Unavailable(
        f"{handle.uri}: other writers committed first in all {CONFLICT_TRIES} attempts"
    )


def fitted(rows: pa.Table, table: DeltaTable) -> pa.Table:
    """The rows with the columns that a newer version has added to the table, null, at their place.

    The library refuses rows of fewer columns, which would end every store that is not yet
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


def _same(found: Any, wanted: Any) -> bool:
    return found is not None and bool(found.equals(wanted))
