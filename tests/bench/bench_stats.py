"""What ``promptmill stats`` and ``promptmill report`` cost: seconds, and the peak of memory.

A child process runs the command on a store of so many records, with a tenth of that in rejects.
Several sizes show whether memory grows with the store.

    python tests/bench/bench_stats.py --records 100000 1000000 --json
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.figures import show_figures
from promptmill.lake.keys import KEY_BYTES
from promptmill.lake.ports import COUNTED, Advance, Batch, TableName
from promptmill.lake.sink import DeltaSink
from promptmill.lake.tables import TABLES
from promptmill_schemas import ATTRIBUTES, AttributeScores, GradedCandidate, Message
from support.store import AT, PARTITIONS, identities, record, reject

RUN, ROWS, POOL, DAYS = "test", 100_000, 2_000, 30
MIB = 2**20


def texts(rng: random.Random, number: int, size: int) -> list[str]:
    """Texts that compress as prose does."""
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 9))) for _ in range(4_000)]
    return [" ".join(rng.choices(words, k=size // 6)) for _ in range(number)]


def pool(name: TableName) -> pa.Table:
    """Rows of 2 KiB with four candidates each, from which tables are drawn."""
    rng = random.Random(1)
    questions, answers = texts(rng, POOL, 200), texts(rng, POOL, 400)
    rows = []
    for number in range(POOL):
        message = Message(role="user", content=questions[number])
        if name is TableName.REJECTS:
            made: Any = reject("x").model_copy(update={"messages": (message,)})
        else:
            drawn = rng.sample(answers, 4)
            turns = (message, Message(role="assistant", content=drawn[0]))
            candidates = tuple(_candidate(i, text) for i, text in enumerate(drawn))
            update = {"messages": turns, "chosen": drawn[0], "candidates": candidates}
            made = record("x").model_copy(update=update)
        rows.append(TABLES[name].row(made) | {"shard": 0, "shard_offset": 0})
    return pa.Table.from_pylist(rows, TABLES[name].schema)


def _candidate(index: int, text: str) -> GradedCandidate:
    scores = AttributeScores(**dict.fromkeys(ATTRIBUTES, 2.0))
    return GradedCandidate(
        index=index, text=text, finish_reason="stop", completion_tokens=90, scores=scores, reward=2
    )


def fill(sink: DeltaSink, name: TableName, rows: int) -> None:
    """Store so many rows, in commits of ``ROWS``."""
    drawn, rng = pool(name), np.random.default_rng(2)
    stored: dict[int, int | None] = dict.fromkeys(range(PARTITIONS))
    for start in range(0, rows, ROWS):
        number = min(ROWS, rows - start)
        each = number // PARTITIONS
        shards = np.repeat(np.arange(PARTITIONS), each)
        table = drawn.take(pa.array(rng.integers(0, POOL, len(shards))))
        columns: dict[str, pa.Array] = {
            "shard": pa.array(shards),
            "shard_offset": pa.array(np.tile(np.arange(each), PARTITIONS) + (stored[0] or 0)),
            "created_at": pa.array(
                [AT + timedelta(days=s) for s in rng.random(len(shards)) * DAYS]
            ),
        }
        if name is TableName.RECORDS:
            columns["scores"] = pa.StructArray.from_arrays(
                [pa.array(rng.normal(2.5, 0.8, len(shards))) for _ in ATTRIBUTES], list(ATTRIBUTES)
            )
            columns |= {key: pa.array(_ids(len(shards))) for key in ("record_id", "content_key_2")}
        for column, values in columns.items():
            at = table.schema.get_field_index(column)
            table = table.set_column(at, table.schema.field(at), values.cast(table.schema[at].type))
        before, stored = stored, {s: (at or 0) + each for s, at in stored.items()}
        steps = {s: Advance(before[s], int(at or 0)) for s, at in stored.items()}
        counts = {(s, RUN): int(at or 0) for s, at in stored.items()}
        sink.commit(name, Batch(table, steps, counts | {(s, COUNTED): 1 for s in stored}))


def _ids(number: int) -> list[str]:
    digits = np.random.default_rng().bytes(number * KEY_BYTES).hex()
    return [digits[at : at + 2 * KEY_BYTES] for at in range(0, len(digits), 2 * KEY_BYTES)]


def command(store: Path, *arguments: str) -> tuple[float, float]:
    """The seconds that a command takes, and the peak of its memory in MiB."""
    began = time.perf_counter()
    program = [sys.executable, "-m", "promptmill.cli", "--store", str(store), *arguments]
    child = os.posix_spawn(
        sys.executable,
        program,
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )
    _, status, usage = os.wait4(child, 0)
    if status:
        sys.exit(f"{' '.join(program)} failed")
    return round(time.perf_counter() - began, 2), round(usage.ru_maxrss * 1024 / MIB)


def measure(records: int) -> dict[str, Any]:
    """The figures with so many records."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        sink = DeltaSink(str(store), identities())
        sink.open()
        sink.take_over(range(PARTITIONS))
        fill(sink, TableName.RECORDS, records)
        fill(sink, TableName.REJECTS, records // 10)
        stats_s, stats_mib = command(store, "stats", "--json")
        return {"records": records, "stats_s": stats_s, "stats_mib": stats_mib}


def main() -> None:
    """Print the figures of each size."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--records", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--json", action="store_true", help="one JSON document")
    options = parser.parse_args()
    figures = [measure(records) for records in options.records]
    show_figures(figures, as_json=options.json)


if __name__ == "__main__":
    main()
