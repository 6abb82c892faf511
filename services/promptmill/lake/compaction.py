"""Compaction: small files are merged into large ones, without a change of rows.

Files are merged when their total size is :data:`GROWTH` times that of the largest of them, or the
size that a file should have. Only files of similar size are therefore merged, and a row is
rewritten at most three times between a flush of a kilobyte and a file of the target size.

The library's own ``optimize.compact`` must not be used beside other writers: in 1.6.6 two of
them at once both succeed and leave every row twice, because a file that a compaction has
removed is not counted as a conflict, and it does not commit the application transactions that
it is given. So files are merged here and committed as one transaction with a fence: every
compaction repeats the same application transaction, and the second of two is refused.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any
from uuid import uuid4

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction, RemoveAction

from promptmill.lake.table import StorageOptions, translated

COMPACTION_ID = "promptmill/compaction"
TARGET_BYTES = 128 * 1024 * 1024
COMPRESSION = {"compression": "zstd", "compression_level": 3}
GROWTH = 50
"""The least ratio of a merged file's size to its largest part, unless it reaches the target."""

ROW_GROUP_ROWS = 100_000
ROW_GROUP_BYTES = 64 * 1024 * 1024
"""A row group ends at the first of these limits; the bytes bound the memory of a merge."""

READ_ROWS = 16 * 1024
MIN, MAX, PARTITION = "min.", "max.", "partition."
"""The prefixes under which the library lists a file's statistics and partition."""


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    size: int
    rows: int
    bounds: dict[str, tuple[Any, Any]]
    partition: tuple[tuple[str, str | None], ...] = ()


def compact(
    uri: str,
    storage_options: StorageOptions = None,
    target_bytes: int = TARGET_BYTES,
    growth: int = GROWTH,
) -> int:
    """Merge small files of similar size, or any two with a ``growth`` of 1; return their number.

    It returns 0 if there is nothing to merge, or if another compaction was faster. In that case the
    new files do not belong to the table, and :mod:`promptmill.lake.vacuum` removes them.
    """
    options = None if storage_options is None else dict(storage_options)
    with translated(uri):
        table = DeltaTable(uri, storage_options=options)
        groups = [
            group
            for files in _partitions(_files(table))
            for group in _grouped(files, target_bytes, growth)
        ]
        if not groups:
            return 0
        actions = [action for group in groups for action in _replace(table, group)]
        fence = CommitProperties(
            app_transactions=[Transaction(COMPACTION_ID, table.version(), None)]
        )
        try:
            table.create_write_transaction(
                actions, "append", table.schema(), commit_properties=fence
            )
        except CommitFailedError:
            return 0
    return sum(map(len, groups))


def _files(table: DeltaTable) -> Iterator[_File]:
    for file in pa.table(table.get_add_actions(flatten=True)).to_pylist():
        names = [name.removeprefix(MIN) for name in file if name.startswith(MIN)]
        bounds = {
            name: (file[MIN + name], file[MAX + name])
            for name in names
            if file[MIN + name] is not None and file.get(MAX + name) is not None
        }
        partition = tuple(
            (name.removeprefix(PARTITION), value)
            for name, value in file.items()
            if name.startswith(PARTITION)
        )
        yield _File(file["path"], file["size_bytes"], file["num_records"], bounds, partition)


def _partitions(files: Iterable[_File]) -> list[list[_File]]:
    """Separate the files of different partitions, which cannot be merged."""
    found: dict[tuple[tuple[str, str | None], ...], list[_File]] = {}
    for file in files:
        found.setdefault(file.partition, []).append(file)
    return list(found.values())


def _grouped(
    files: Iterable[_File], target_bytes: int, growth: int = GROWTH
) -> Iterator[list[_File]]:
    """Group the files that are due, older rows first, up to the target size.

    Files that fill no group wait until there are more.
    """
    small = [file for file in files if file.size < target_bytes / 2]
    due = sorted(_due(small, target_bytes, growth), key=_place)
    group: list[_File] = []
    size, is_first = 0, True
    for file in due:
        if size + file.size > target_bytes:
            yield group
            group, size, is_first = [], 0, False
        group.append(file)
        size += file.size
    if is_first and len(group) > 1:
        yield group


def _due(files: list[_File], target_bytes: int, growth: int) -> list[_File]:
    """Return the smallest files that together make a sufficiently larger file."""
    files = sorted(files, key=lambda file: file.size)
    totals = list(accumulate(file.size for file in files))
    count = max(
        (
            count
            for count, (file, total) in enumerate(zip(files, totals, strict=True), 1)
            if total >= min(growth * file.size, target_bytes)
        ),
        default=0,
    )
    return files[:count]


def _place(file: _File) -> tuple[int, str]:
    """Return the key that sorts files with older rows first."""
    return file.bounds.get("shard_offset", (0, 0))[0], file.path


def _replace(table: DeltaTable, group: list[_File]) -> list[AddAction | RemoveAction]:
    """Replace these files, which are of one partition, by one file with all their rows."""
    partition = dict(group[0].partition)
    folder = "".join(f"{name}={value}/" for name, value in partition.items())
    name = f"{folder}compacted-{uuid4()}.zstd.parquet"
    size = _write(table, {file.path for file in group}, name, partition)
    now = int(time.time() * 1000)
    removed = [RemoveAction(file.path, False, now, file.size, partition) for file in group]
    added = AddAction(name, size, partition, now, data_change=False, stats=_statistics(group))
    return [*removed, added]


def _write(table: DeltaTable, paths: set[str], name: str, partition: Collection[str]) -> int:
    """Write one file with the rows of these files, and return its size in bytes."""
    dataset = table.to_pyarrow_dataset()
    fragments = [each for each in dataset.get_fragments() if each.path in paths]
    if len(fragments) != len(paths):
        raise OSError(f"{table.table_uri}: {len(paths) - len(fragments)} files are missing")
    filesystem = dataset.filesystem
    schema = pa.schema([field for field in dataset.schema if field.name not in partition])
    with (
        filesystem.open_output_stream(name) as stream,
        pq.ParquetWriter(stream, schema, **COMPRESSION) as writer,
    ):
        for rows in _row_groups(fragments, schema):
            writer.write_table(rows, row_group_size=max(1, rows.num_rows))
    return int(filesystem.get_file_info(name).size)


def _row_groups(fragments: Iterable[Any], schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield all rows in tables of about the size of a row group."""
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for fragment in fragments:
        for batch in fragment.to_batches(schema=schema, batch_size=READ_ROWS):
            held.append(batch)
            rows, size = rows + batch.num_rows, size + batch.nbytes
            if rows >= ROW_GROUP_ROWS or size >= ROW_GROUP_BYTES:
                yield pa.Table.from_batches(held, schema)
                held, rows, size = [], 0, 0
    if rows:
        yield pa.Table.from_batches(held, schema)


def _statistics(group: list[_File]) -> str:
    """Return the minima and maxima of the columns for which every file has them."""
    names = set[str].intersection(*(set(file.bounds) for file in group))
    statistics = {
        "numRecords": sum(file.rows for file in group),
        "minValues": {name: min(file.bounds[name][0] for file in group) for name in names},
        "maxValues": {name: max(file.bounds[name][1] for file in group) for name in names},
    }
    return orjson.dumps(statistics, option=orjson.OPT_UTC_Z).decode()
