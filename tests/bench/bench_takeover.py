"""What the start of a store costs: the takeover of all shards of a store with many prompts.

A store is filled with prompts, each with a record or (every tenth) a reject. Then one sink takes
over all shards and loads their indexes. Seconds by the clock, seconds of the processor (which hold
on a busy machine), and bytes for each prompt, of the index and of the whole process.

    python tests/bench/bench_takeover.py --prompts 10000000 --json
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parent.parent))

from promptmill.lake.keys import KEY_BYTES
from promptmill.lake.ports import COUNTED, Advance, Batch, TableName
from promptmill.lake.sink import DeltaSink
from promptmill.lake.tables import TABLES
from promptmill.store.loading import load_indexes
from support.store import AT, identities

ID_CHARACTERS = 2 * KEY_BYTES
REJECTED_SHARE = 10
ROWS = 100_000
"""Rows of one commit."""


def random_ids(count: int) -> pa.Array:
    """Distinct ids."""
    offsets = np.arange(0, ID_CHARACTERS * (count + 1), ID_CHARACTERS, dtype=np.int32)
    digits = os.urandom(KEY_BYTES * count).hex().encode()
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(digits))


def rows_of(name: TableName, given: Mapping[str, pa.Array]) -> pa.Table:
    """Rows with these columns; the others are null, or constant where they must not be."""
    count = len(next(iter(given.values())))

    def column(field: pa.Field) -> pa.Array:
        if field.name in given:
            return given[field.name].cast(field.type)
        if field.nullable:
            return pa.nulls(count, field.type)
        constant: Any = "sft" if pa.types.is_string(field.type) else 1
        if pa.types.is_timestamp(field.type):
            constant = AT
        return pa.repeat(pa.scalar(constant, field.type), count)

    schema = TABLES[name].schema
    return pa.Table.from_arrays([column(field) for field in schema], schema=schema)


def fill(sink: DeltaSink, prompts: int, shards: int) -> None:
    """Store so many prompts and their outcomes, in commits of :data:`ROWS` of one shard each."""
    sink.take_over(range(shards))
    positions: dict[tuple[TableName, int], int] = {}

    def commit(name: TableName, shard: int, given: dict[str, pa.Array]) -> None:
        first = positions.get((name, shard), 0)
        count = len(given["prompt_id"])
        given |= {
            "run": pa.repeat(pa.scalar("bench"), count),
            "shard": pa.repeat(pa.scalar(shard, pa.int32()), count),
            "shard_offset": pa.array(np.arange(first, first + count)),
            "decision_id": random_ids(count),
            "record_id": random_ids(count),
        }
        known = {field: given[field] for field in given if field in TABLES[name].schema.names}
        steps = {shard: Advance(first or None, first + count)}
        counts = {(shard, COUNTED): 1, (shard, "bench"): first + count}
        sink.commit(name, Batch(rows_of(name, known), steps, counts))
        positions[name, shard] = first + count

    for number in range(-(-prompts // ROWS)):
        shard, ids = number % shards, random_ids(min(ROWS, prompts - number * ROWS))
        rejected = len(ids) // REJECTED_SHARE
        commit(TableName.PROMPTS, shard, {"prompt_id": ids})
        commit(TableName.REJECTS, shard, {"prompt_id": ids[:rejected]})
        commit(TableName.RECORDS, shard, {"prompt_id": ids[rejected:]})


def resident_bytes() -> int:
    """The memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def take_over(folder: str, prompts: int, shards: int) -> dict[str, float]:
    """Open the store and take over all of its shards, as a sink does at its start."""
    before, began, busy = resident_bytes(), time.perf_counter(), time.process_time()
    sink = DeltaSink(folder, identities(partitions=shards))
    sink.open()
    sink.take_over(range(shards))
    indexes = load_indexes(sink, range(shards))
    took, worked = time.perf_counter() - began, time.process_time() - busy
    if (found := sum(map(len, indexes.values()))) != prompts:
        raise RuntimeError(f"{prompts} prompts were stored, and the indexes have {found}")
    return {
        "prompts": prompts,
        "seconds": round(took, 2),
        "processor_seconds": round(worked, 2),
        "index_bytes_per_prompt": round(sum(i.nbytes for i in indexes.values()) / prompts, 1),
        "process_bytes_per_prompt": round((resident_bytes() - before) / prompts, 1),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }


def main() -> None:
    """Fill a store, take it over in a process of its own and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--prompts", type=int, default=1_000_000)
    parser.add_argument("--shards", type=int, default=12)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="promptmill-bench-") as folder:
        child = os.fork()
        if not child:  # filled elsewhere, so that its memory is not counted here
            sink = DeltaSink(folder, identities(partitions=options.shards))
            sink.open()
            fill(sink, options.prompts, options.shards)
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            raise SystemExit("the store could not be filled")
        figures = take_over(folder, options.prompts, options.shards)
    if options.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:>26}  {value:,}")


if __name__ == "__main__":
    main()
