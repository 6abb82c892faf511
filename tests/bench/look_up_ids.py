"""The child of ``bench_known.py``: looks ids up among those of a run that the table holds.

It loads what ``promptmill publish`` loads, so that its memory is that of the command.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import promptmill.cli.publish.run  # noqa: F401 - what the command loads
from bench.watch_counts import peak_bytes
from promptmill.cli.publish.stored_ids import StoredIds
from promptmill.cli.store_counts import open_counts

LINES_AT_ONCE = 800
"""About as many as a chunk of input holds."""


async def look_up(folder: str, run: str, lines: int) -> list[float]:
    """Seconds for the first ids, for all, and of the processor; peak bytes; how many are stored."""
    began, rest, found, first_s = time.perf_counter(), lines, 0, 0.0
    stored = StoredIds(lambda among: open_counts(folder).prompt_ids(run, among))
    while rest > 0:
        some = min(rest, LINES_AT_ONCE)
        found += len(await stored.among([f"{random.getrandbits(128):032x}" for _ in range(some)]))
        first_s = first_s or time.perf_counter() - began
        rest -= some
    all_s = time.perf_counter() - began
    return [first_s, all_s, time.process_time(), peak_bytes(), found]


if __name__ == "__main__":
    store, name, number = sys.argv[1:]
    print(json.dumps(asyncio.run(look_up(store, name, int(number)))))
