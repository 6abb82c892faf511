"""How soon a stream of a large table gives its first row.

A store of a million records in commits of 10 has 100,000 log entries, of which compaction keeps
few files alive. Writing them one by one takes hours, because a commit lists the log. So the sink
writes most rows in large commits, which are compacted, and the last ones in ``--small`` commits of
10 rows. The log entries that commits of 10 rows would have left besides are written directly.

    python tests/bench/bench_stream.py --records 1000000 --store /tmp/million
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import sys
import time
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable

sys.path.insert(0, str(Path(__file__).parent.parent))

from promptmill.lake.ports import Advance, Batch, TableName
from promptmill.lake.transactions import position_id
from promptmill.training import stream
from support.store import PARTITIONS, DeltaStore, record, rows

ROWS_A_COMMIT = 10
LARGE = 50_000


def fill(folder: Path, records: int, small: int) -> None:
    """Write a table of so many records, the last of them in small commits."""
    sink = DeltaStore(folder).sink()
    sink.take_over(range(PARTITIONS))
    template = rows([(0, 0, record("a question of usual length", pad=400))])
    at = 0
    while at < records:
        left = records - small * ROWS_A_COMMIT - at
        count = min(LARGE, left) if left > 0 else ROWS_A_COMMIT
        sink.commit(TableName.RECORDS, _batch(template, at, count))
        at += count
        if count == LARGE:
            sink.compact(TableName.RECORDS)
    _add_log_entries(folder, records // ROWS_A_COMMIT)


def _batch(template: pa.Table, start: int, count: int) -> Batch:
    """``count`` copies of a row with the positions from ``start`` on, spread over the shards."""
    shards = pa.array([n % PARTITIONS for n in range(start, start + count)], pa.int32())
    offsets = pa.array([n // PARTITIONS for n in range(start, start + count)], pa.int64())
    ids = pa.array([f"{n:032x}" for n in range(start, start + count)])
    table = template.take(pa.array([0] * count))
    for name, values in (("shard", shards), ("shard_offset", offsets), ("record_id", ids)):
        table = table.set_column(table.schema.get_field_index(name), template.field(name), values)
    steps = {
        shard: Advance(_next(start, shard) or None, _next(start + count, shard))
        for shard in range(PARTITIONS)
    }
    return Batch(table, {s: step for s, step in steps.items() if step.expected != step.next})


def _next(rows_before: int, shard: int) -> int:
    """The next offset of a shard after so many rows."""
    return (rows_before - shard + PARTITIONS - 1) // PARTITIONS if rows_before > shard else 0


def _add_log_entries(folder: Path, number: int) -> None:
    """Write log entries that repeat the present positions, as many as small commits would leave.

    They change nothing, so the checkpoint before them is also the one after them.
    """
    table = DeltaTable(folder / "records")
    table.create_checkpoint()
    log, before = folder / "records" / "_delta_log", table.version()
    positions = {position_id("records", s): next_of(table, s) for s in range(PARTITIONS)}
    lines = [json.dumps({"txn": {"appId": app, "version": at}}) for app, at in positions.items()]
    for version in range(before + 1, before + 1 + number):
        (log / f"{version:020}.json").write_text("\n".join(lines) + "\n")
    after = before + number
    shutil.copy(log / f"{before:020}.checkpoint.parquet", log / f"{after:020}.checkpoint.parquet")
    last = json.loads((log / "_last_checkpoint").read_text())
    (log / "_last_checkpoint").write_text(json.dumps(last | {"version": after}))


def next_of(table: DeltaTable, shard: int) -> int | None:
    """The next offset of a shard."""
    found: int | None = table.transaction_version(position_id("records", shard))
    return found


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--small", type=int, default=200, help="small commits after the last merge")
    parser.add_argument(
        "--store", type=Path, required=True, help="a folder, filled unless it exists"
    )
    options = parser.parse_args()
    if not options.store.exists():
        began = time.perf_counter()
        fill(options.store, options.records, options.small)
        print(f"filled in {time.perf_counter() - began:.0f} s", flush=True)
    table = DeltaTable(options.store / "records")
    print(f"{table.count()} rows, version {table.version()}, {len(table.file_uris())} files")
    for name in ("records", "trl-sft"):
        began = time.perf_counter()
        found = stream(str(options.store), format=name)
        opened = time.perf_counter()
        next(iter(found))
        ended = time.perf_counter()
        many = sum(1 for _ in itertools.islice(found, 20_000))
        rate = many / (time.perf_counter() - ended)
        print(
            f"{name}: opened in {opened - began:.2f} s, first row after {ended - began:.2f} s, "
            f"then {rate:,.0f} rows/s"
        )


if __name__ == "__main__":
    main()
