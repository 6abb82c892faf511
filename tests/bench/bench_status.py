"""What ``promptmill status`` costs, with few prompts in the tables and with many.

A child process (``watch_counts.py``) opens the store's run counts, asks for a run's numbers, then
again after each of some further commits. Several sizes show whether the figures grow with the
store.

    python tests/bench/bench_status.py --prompts 20000 1000000 --json
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.figures import show_figures
from promptmill.lake.identity import Identity
from promptmill.lake.keys import KEY_BYTES
from promptmill.lake.ports import COUNTED, Advance, Batch, TableName
from promptmill.lake.sink import DeltaSink
from promptmill.lake.tables import TABLES
from support.store import prompt

RUN, SHARDS, ROWS, POLLS = "test", 48, 20_000, 10
CHILD = Path(__file__).with_name("watch_counts.py")
PROMPTS = TableName.PROMPTS
MIB = 2**20
EXAMPLE = pa.Table.from_pylist(
    [TABLES[PROMPTS].row(prompt("a question?")) | {"shard": 0, "shard_offset": 0}],
    TABLES[PROMPTS].schema,
)


class Filled:
    """A store with so many prompts, written by the sink in commits of ``ROWS``."""

    def __init__(self, folder: Path, prompts: int) -> None:
        identities = {n: Identity("bench", s.topic.name, SHARDS) for n, s in TABLES.items()}
        self._sink = DeltaSink(str(folder), identities)
        self._sink.open()
        self._sink.take_over(range(SHARDS))
        self._stored: dict[int, int | None] = dict.fromkeys(range(SHARDS))
        for _ in range(0, prompts, ROWS):
            self.commit(ROWS)

    def commit(self, rows: int) -> None:
        """Store so many prompts more, in equal parts."""
        each = rows // SHARDS + 1
        shards = np.repeat(np.arange(SHARDS), each).astype(np.int64)
        columns = {
            "prompt_id": pa.array(ids(len(shards))),
            "shard": pa.array(shards),
        }
        table = EXAMPLE.take(pa.array(np.zeros(len(shards), int)))
        for name, column in columns.items():
            at = EXAMPLE.schema.get_field_index(name)
            field = EXAMPLE.schema.field(at)
            table = table.set_column(at, field, column.cast(field.type))
        before = self._stored
        self._stored = {s: (at or 0) + each for s, at in before.items()}
        steps = {s: Advance(before[s], int(at or 0)) for s, at in self._stored.items()}
        counts = {(s, RUN): int(at or 0) for s, at in self._stored.items()}
        self._sink.commit(PROMPTS, Batch(table, steps, counts | {(s, COUNTED): 1 for s in steps}))


def ids(number: int) -> list[str]:
    """As evenly spread as digests are."""
    digits = np.random.default_rng().bytes(number * KEY_BYTES).hex()
    return [digits[at : at + 2 * KEY_BYTES] for at in range(0, len(digits), 2 * KEY_BYTES)]


def measure(prompts: int) -> dict[str, Any]:
    """The figures with so many prompts."""
    with tempfile.TemporaryDirectory() as folder:
        filled = Filled(Path(folder), prompts)
        child = subprocess.Popen(
            [sys.executable, str(CHILD), folder, RUN],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        answers = [json.loads(child.stdout.readline())]
        for _ in range(POLLS):
            filled.commit(SHARDS)
            child.stdin.write("\n")
            child.stdin.flush()
            answers.append(json.loads(child.stdout.readline()))
        child.stdin.close()
        child.wait()
    return {
        "prompts": answers[0][2],
        "first_s": round(answers[0][0], 3),
        "next_poll_s": round(statistics.median(answer[0] for answer in answers[1:]), 4),
        "peak_mib": round(answers[-1][1] / MIB),
    }


def main() -> None:
    """Print the figures of each size."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--prompts", type=int, nargs="+", default=[20_000, 200_000])
    parser.add_argument("--json", action="store_true", help="one JSON document")
    options = parser.parse_args()
    figures = [measure(prompts) for prompts in options.prompts]
    show_figures(figures, as_json=options.json)


if __name__ == "__main__":
    main()
