"""Reading rows in order with little memory, and single leaves of nested columns.

The texts of the candidates take most of a table's bytes, and the library's datasets can only read
whole columns of lists. Parquet stores each leaf apart, so aggregations read the leaves they need.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from deltalake import DeltaTable
from pyarrow.dataset import Expression

from promptmill.lake.table import translated

CONDITIONED: Final = ("run", "kind", "shard", "shard_offset")
"""The columns by which rows can be selected; all of them prune files or row groups."""

_BUFFER_BYTES: Final = 256 * 1024
"""The number of bytes of a column that are read from a file at once."""

_LIST_LEVELS: Final = (".list.element", ".list.item")


def leaves_schema(schema: pa.Schema, leaves: Sequence[str]) -> pa.Schema:
    """Return the columns that contain these leaves, reduced to the leaves.

    Args:
        schema: the schema of the table.
        leaves: names of columns, or paths into structs and lists of structs such as
            ``candidates.completion_tokens``. Names that the table lacks are ignored.
    """
    reduced = [(field, _reduced(field.type, field.name, leaves)) for field in schema]
    return pa.schema([field.with_type(kind) for field, kind in reduced if kind is not None])


def scan_leaves(
    table: DeltaTable, leaves: Sequence[str], condition: Expression | None, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """Yield all rows of the row groups that may fulfil a condition, reduced to some leaves.

    The batches have the columns of :func:`leaves_schema`, which are null in files without them.
    The files are read in the order of their names. One batch is in memory at a time, whereas a
    scanner of the library's datasets holds one or two whole row groups.

    Args:
        condition: prunes row groups only, so callers must apply it to the rows.
    """
    with translated(table.table_uri):
        whole = table.to_pyarrow_dataset()
        schema = leaves_schema(whole.schema, leaves)
        for part in sorted(whole.get_fragments(condition), key=lambda part: str(part.path)):
            constants = ds.get_partition_keys(part.partition_expression)
            pruned = part if condition is None else part.subset(condition, whole.schema)
            groups = [group.id for group in pruned.row_groups]
            with part.filesystem.open_input_file(part.path) as source:
                file = pq.ParquetFile(source, buffer_size=_BUFFER_BYTES)
                paths = [path for path in _paths(file) if _is_wanted(_logical(path), leaves)]
                for batch in file.iter_batches(batch_rows, groups, paths, use_threads=False):
                    yield _completed(batch, schema, constants)


def scan_in_order(
    table: DeltaTable, columns: Sequence[str], condition: Expression | None, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of one version in batches, in the same order each time.

    The files are read in the order of their names, and each from its first row to its last.

    Args:
        columns: the names of the columns, in the order of the batches' columns.
        condition: a condition on the columns of :data:`CONDITIONED`.
    """
    needed = columns if condition is None else (*columns, *CONDITIONED)
    for batch in scan_leaves(table, needed, condition, batch_rows):
        rows = pa.Table.from_batches([batch])
        kept = rows if condition is None else rows.filter(condition)
        yield from kept.select(list(columns)).combine_chunks().to_batches()


def _paths(file: pq.ParquetFile) -> list[str]:
    leaves = file.metadata.schema
    return [leaves.column(index).path for index in range(len(leaves))]


def _logical(path: str) -> str:
    """Return a leaf's path without the levels that Parquet adds to lists."""
    for level in _LIST_LEVELS:
        path = path.replace(level, "")
    return path


def _is_wanted(path: str, leaves: Sequence[str]) -> bool:
    return any(path == leaf or path.startswith(f"{leaf}.") for leaf in leaves)


def _completed(
    batch: pa.RecordBatch, schema: pa.Schema, constants: dict[str, object]
) -> pa.RecordBatch:
    """Return the batch with all columns of the schema, including those of the partition."""
    columns = []
    for field in schema:
        if field.name in constants:
            value = pa.scalar(constants[field.name], field.type)
            columns.append(pa.repeat(value, batch.num_rows))
        elif field.name in batch.schema.names:
            columns.append(batch.column(field.name).cast(field.type))
        else:
            columns.append(pa.nulls(batch.num_rows, field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _reduced(kind: pa.DataType, path: str, leaves: Sequence[str]) -> pa.DataType | None:
    """Return the type with only the wanted leaves, or ``None`` if it has none of them."""
    if _is_wanted(path, leaves):
        return kind
    if pa.types.is_list(kind):
        items = _reduced(kind.value_type, path, leaves)
        return None if items is None else pa.list_(items)
    if pa.types.is_struct(kind):
        fields = [(f, _reduced(f.type, f"{path}.{f.name}", leaves)) for f in kind]
        wanted = [field.with_type(part) for field, part in fields if part is not None]
        return pa.struct(wanted) if wanted else None
    return None
