"""Merging small files into large ones, without changing a row.

The library's own ``optimize.compact`` must not be used beside other writers: in 1.6.6 two of
them at once both succeed and leave every row twice, because a file that a compaction has
removed is not counted as a conflict, and it does not commit the application transactions that
it is given. So files are merged here and committed as one transaction with a fence: every
compaction repeats the same application transaction, and the second of two is refused.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction, RemoveAction

from promptmill.core.sinks.delta.table import StorageOptions, translated

COMPACTION_ID = "promptmill/compaction"
TARGET_BYTES = 128 * 1024 * 1024
COMPRESSION = {"compression": "zstd", "compression_level": 3}
STATISTICS = ("shard", "shard_offset")
"""The columns whose smallest and largest value let readers pass over a file."""


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    size: int
    rows: int
    bounds: dict[str, tuple[int, int]]


def compact(
    uri: str, storage_options: StorageOptions = None, target_bytes: int = TARGET_BYTES
) -> int:
    """Merge files of less than half the target; how many went.

    0 when there is nothing to merge, or when another compaction or a mark came first: then
    the new files are no part of the table, and :func:`vacuum` removes them.
    """
    options = None if storage_options is None else dict(storage_options)
    with translated(uri):
        table = DeltaTable(uri, storage_options=options)
        groups = list(_grouped(_files(table), target_bytes))
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
        bounds = {
            name: (file[f"min.{name}"], file[f"max.{name}"])
            for name in STATISTICS
            if file.get(f"min.{name}") is not None
        }
        yield _File(file["path"], file["size_bytes"], file["num_records"], bounds)


def _grouped(files: Iterable[_File], target_bytes: int) -> Iterator[list[_File]]:
    """Small files in groups that make a file of about the target each."""
    small = sorted((file for file in files if file.size < target_bytes / 2), key=_place)
    group: list[_File] = []
    size = 0
    for file in small:
        if group and size + file.size > target_bytes:
            yield group
            group, size = [], 0
        group.append(file)
        size += file.size
    if len(group) > 1:
        yield group


def _place(file: _File) -> tuple[int, str]:
    """Older rows first."""
    return file.bounds.get("shard_offset", (0, 0))[0], file.path


def _replace(table: DeltaTable, group: list[_File]) -> list[AddAction | RemoveAction]:
    """Write one file with the rows of all, and say so."""
    name = f"compacted-{uuid4()}.zstd.parquet"
    size = _write(table, {file.path for file in group}, name)
    now = int(time.time() * 1000)
    removed = [RemoveAction(file.path, False, now, file.size, {}) for file in group]
    added = AddAction(name, size, {}, now, data_change=False, stats=_statistics(group))
    return [*removed, added]


def _write(table: DeltaTable, paths: set[str], name: str) -> int:
    """One file with the rows of these; its size in bytes."""
    dataset = table.to_pyarrow_dataset()
    fragments = [each for each in dataset.get_fragments() if each.path in paths]
    if len(fragments) != len(paths):
        raise OSError(f"{table.table_uri}: {len(paths) - len(fragments)} files were not found")
    filesystem = dataset.filesystem
    with (
        filesystem.open_output_stream(name) as stream,
        pq.ParquetWriter(stream, dataset.schema, **COMPRESSION) as writer,
    ):
        for fragment in fragments:
            for batch in fragment.to_batches(schema=dataset.schema):
                writer.write_batch(batch)
    return int(filesystem.get_file_info(name).size)


def _statistics(group: list[_File]) -> str:
    statistics: dict[str, Any] = {"numRecords": sum(file.rows for file in group)}
    for name in STATISTICS:
        bounds = [file.bounds[name] for file in group if name in file.bounds]
        if len(bounds) == len(group):
            statistics.setdefault("minValues", {})[name] = min(low for low, _ in bounds)
            statistics.setdefault("maxValues", {})[name] = max(high for _, high in bounds)
    return orjson.dumps(statistics).decode()
