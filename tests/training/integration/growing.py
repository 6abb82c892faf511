"""Tables of records that grow while they are read, and readers of them as processes."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path
from typing import Any

import orjson

from promptmill.training import stream
from promptmill_schemas import Record
from support.exports import Records, sft

PARTITIONS = 8
BATCH_ROWS = 3


class Growing:
    """A table to which records are added, some to each shard."""

    def __init__(self, folder: Path) -> None:
        self.records = Records(folder, PARTITIONS)
        self.uri = self.records.uri
        self.added: list[Record] = []
        self._numbers = count()

    def grow(self, each: int = 1, shards: int = PARTITIONS, **fields: Any) -> None:
        """Add so many records to each of the first shards, in one commit for each shard."""
        for shard in range(shards):
            found = [sft(number=next(self._numbers), **fields) for _ in range(each)]
            self.records.add(*found, shard=shard)
            self.added += found

    @property
    def ids(self) -> list[str]:
        """The id of every record so far, in order."""
        return sorted(record.record_id for record in self.added)


def once(table: Growing, **options: Any) -> Any:
    """A stream of what the table has now."""
    return stream(table.uri, follow=False, **options)


def read_in_batches(store: str, log: str, part: tuple[int, ...], idle_s: float | None) -> None:
    """Read a share of a stream, and log each batch with the position after it, as a trainer does.

    Args:
        store: of the table.
        log: the file that has a line for each batch; the last whole line is where to continue.
        part: rank, number of ranks, worker, number of workers.
        idle_s: see :func:`promptmill.training.stream`.
    """
    rank, world_size, worker, workers = part
    rows = stream(store, rank=rank, world_size=world_size, idle_s=idle_s, where="reward > 0").part(
        worker, workers
    )
    if done := batches(Path(log)):
        rows.load_state_dict(done[-1]["state"])
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    batch: list[str] = []
    for row in rows:
        batch.append(row["record_id"])
        if len(batch) == BATCH_ROWS:
            _log(file, batch, rows.state_dict())
            batch = []
    _log(file, batch, rows.state_dict())


def _log(file: int, batch: list[str], state: Any) -> None:
    os.write(file, orjson.dumps({"batch": batch, "state": state}) + b"\n")


def batches(log: Path) -> list[dict[str, Any]]:
    """The batches of a log that were written completely."""
    lines = log.read_bytes().splitlines(keepends=True) if log.exists() else []
    return [orjson.loads(line) for line in lines if line.endswith(b"\n")]
