"""A temporary database with the columns of the tables that the figures need.

The tables are read once. Texts are reduced to their lengths, so a row takes about 100 bytes on
disk. The memory does not depend on the number of rows, because the database spills to disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Self

import duckdb
import pyarrow as pa
from pyarrow.dataset import field

from promptmill.lake.leaves import leaves_schema
from promptmill.lake.ports import TableName
from promptmill.lake.reader import Snapshot
from promptmill.lake.tables import TABLES

MEMORY: Final = "384MB"
MAX_THREADS: Final = 4
BATCH_ROWS: Final = 16_384

_MODEL: Final = (
    "CASE WHEN {0}.revision <> '' THEN {0}.model || '@' || {0}.revision ELSE {0}.model END"
)
_COMMON: Final = f"""
    shard, shard_offset, run, created_at, policy_version AS policy,
    {_MODEL.format("generated_by")} AS model, {_MODEL.format("scorer")} AS grader,
    generated_by.model AS priced, tags,
    list_transform(coalesce(candidates, []), lambda c: c.completion_tokens) AS tokens
"""
_COMMON_LEAVES: Final = (
    *("shard", "shard_offset", "run", "created_at", "policy_version", "tags", "category"),
    *("generated_by.model", "generated_by.revision", "scorer.model", "scorer.revision"),
    "candidates.completion_tokens",
)

LEAVES: Final = {
    TableName.RECORDS: (
        *_COMMON_LEAVES,
        *("record_id", "kind", "ordinal", "license", "scores", "reward", "margin"),
        *("prompt", "system", "chosen", "rejected", "content_key_2"),
    ),
    TableName.REJECTS: (
        *_COMMON_LEAVES,
        *("licence", "reason", "messages.content"),
        *("candidates.scores", "candidates.checks.name", "candidates.duplicate"),
    ),
}
"""The columns and leaves that are read from each table."""

SELECTIONS: Final = {
    TableName.RECORDS: f"""
        {_COMMON}, kind, ordinal, category, license AS licence, scores, reward, margin,
        record_id::UUID AS record, try_cast(content_key_2 AS UUID) AS content,
        length(prompt) + length(coalesce(system, '')) AS prompt_chars,
        length(chosen) AS answer_chars, length(rejected) AS rejected_chars
    """,
    TableName.REJECTS: f"""
        {_COMMON}, reason,
        coalesce(category, tags->>'category', tags->>'domain') AS category,
        coalesce(licence, tags->>'license', tags->>'licence') AS licence,
        list_sum(list_transform(messages, lambda m: length(m.content))) AS prompt_chars,
        list_transform(candidates, lambda c: c.scores) AS scores,
        flatten(list_transform(candidates, lambda c:
            list_transform(coalesce(c.checks, []), lambda k: k.name))) AS checks,
        list_filter(list_transform(candidates, lambda c: c.duplicate),
            lambda d: d.record_id IS NOT NULL) AS duplicates
    """,
}
"""The columns that are kept of each table, in SQL.

The category and the licence of a reject may also come from its tags, as in ``lake/tables/flat.py``
for records.
"""


class Scratch:
    """The temporary database; its tables are called ``records`` and ``rejects``.

    Args:
        run: keep only rows of this run.
    """

    def __init__(self, run: str | None = None) -> None:
        self._run = run
        self._folder = TemporaryDirectory(prefix="promptmill-stats-")

    def __enter__(self) -> Self:
        path = Path(self._folder.name)
        threads = min(MAX_THREADS, os.cpu_count() or 1)
        self._connection = duckdb.connect(
            str(path / "scratch.duckdb"),
            config={"memory_limit": MEMORY, "threads": threads, "temp_directory": str(path)},
        )
        self._connection.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = false")
        return self

    def __exit__(self, *_error: object) -> None:
        self._connection.close()
        self._folder.cleanup()

    def load(self, name: TableName, snapshot: Snapshot | None) -> None:
        """Fill the table of this name; without a snapshot, it is empty."""
        schema = leaves_schema(TABLES[name].schema, LEAVES[name])
        self._insert(f"CREATE TABLE {name} AS", name, pa.Table.from_batches([], schema))
        if snapshot is None:
            return
        condition = None if self._run is None else field("run") == self._run
        for batch in snapshot.leaves(LEAVES[name], condition, batch_rows=BATCH_ROWS):
            self._insert(f"INSERT INTO {name}", name, batch)

    def rows(self, query: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return the result of a query."""
        return self._connection.execute(query, parameters).fetchall()

    def dicts(self, query: str, parameters: Sequence[object] = ()) -> Iterator[dict[str, Any]]:
        """Yield the rows of a query's result, each as a dictionary by column name."""
        result = self._connection.execute(query, parameters)
        names = [column[0] for column in result.description or ()]
        for row in result.fetchall():
            yield dict(zip(names, row, strict=True))

    def _insert(self, verb: str, name: TableName, rows: pa.Table | pa.RecordBatch) -> None:
        self._connection.register("source", rows)
        query = f"{verb} SELECT {SELECTIONS[name]} FROM source"
        if self._run is None:
            self._connection.execute(query)
        else:
            self._connection.execute(f"{query} WHERE run = ?", [self._run])
        self._connection.unregister("source")
