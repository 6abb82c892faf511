"""The table of accepted gaps: the lost records that each stage may skip, with the time.

It is the fifth table of a store, and has no topic and no shards. Only ``promptmill gaps accept``
writes it, and a worker reads it when it has found lost records.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Final

import pyarrow as pa
from deltalake import write_deltalake

from promptmill.lake.table import StorageOptions, TableHandle, scan, translated
from promptmill.lake.tables import columns
from promptmill.stream.lost_records import Gap
from promptmill.stream.ports import Partition

FOLDER: Final = "gaps"

SCHEMA: Final = pa.schema(
    [
        columns.required("stage", columns.TEXT),
        columns.required("topic", columns.TEXT),
        columns.required("partition", columns.INT),
        columns.required("first", columns.INT),
        columns.required("last", columns.INT),
        columns.required("accepted_at", columns.TIMESTAMP),
    ]
)


def _now() -> datetime:
    return datetime.now(UTC)


class GapTable:
    """The accepted gaps of a store.

    Args:
        folder: URI or path of the store.
        clock: returns the time for ``accepted_at``.
    """

    def __init__(
        self,
        folder: str,
        storage_options: StorageOptions = None,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._handle = TableHandle(f"{folder.rstrip('/')}/{FOLDER}", storage_options)
        self._clock = clock

    def read(self, stage: str) -> list[Gap]:
        """Return the accepted gaps of this stage; there are none without a table.

        Raises:
            Unavailable: the store cannot be read.
        """
        if not self._handle.exists():
            return []
        rows = pa.Table.from_batches(scan(self._handle.open(), None, None), SCHEMA).to_pylist()
        return [
            Gap(Partition(row["topic"], row["partition"]), row["first"], row["last"])
            for row in rows
            if row["stage"] == stage
        ]

    def accept(self, stage: str, gaps: Collection[Gap]) -> None:
        """Record that this stage may skip these gaps; a gap that is recorded twice counts once.

        Raises:
            Unavailable: the store cannot be written.
        """
        if not self._handle.exists():
            self._handle.create(SCHEMA, {})
        rows = [
            {
                "stage": stage,
                "topic": gap.partition.topic,
                "partition": gap.partition.number,
                "first": gap.first,
                "last": gap.last,
                "accepted_at": self._clock(),
            }
            for gap in gaps
        ]
        with translated(self._handle.uri):
            table = pa.Table.from_pylist(rows, schema=SCHEMA)
            write_deltalake(self._handle.open(), table, mode="append")
