"""The child of ``bench_status.py``: a run's counts once, then again for each line of input.

It loads what ``promptmill status`` loads, so that its memory is that of the command.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

import promptmill.cli.status  # noqa: F401 - what the command loads
from promptmill.cli.store_counts import open_counts


def peak_bytes() -> int:
    """The most memory that this process has held.

    ``getrusage`` counts what the parent held when it started the process.
    """
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024


def main() -> None:
    """Print seconds, peak bytes, published and settled prompts for each look."""
    folder, run = sys.argv[1:]
    began = time.perf_counter()
    stored = open_counts(folder)
    while True:
        published, settled = stored.published(run), stored.settled(run)
        took = time.perf_counter() - began
        print(json.dumps([took, peak_bytes(), published.prompts, settled.total]), flush=True)
        if not sys.stdin.readline():
            return
        began = time.perf_counter()


if __name__ == "__main__":
    main()
