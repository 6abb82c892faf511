"""What ``promptmill publish`` pays to know which lines were published before.

A child process (``look_up_ids.py``) looks up the ids of one line, of a short file and of a long
one in tables of several sizes; ``answer_s`` and ``processor_s`` are from the start of the process.
The figures show whether time and memory grow with the lines or with the store.

    python tests/bench/bench_known.py --prompts 100000 1000000 --lines 1 100000 --json
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.bench_status import MIB, RUN, Filled
from bench.figures import show_figures

CHILD = Path(__file__).with_name("look_up_ids.py")


def measure(folder: str, prompts: int, lines: int) -> dict[str, Any]:
    """The figures for so many lines."""
    began = time.perf_counter()
    command = [sys.executable, str(CHILD), folder, RUN, str(lines)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    answer_s = time.perf_counter() - began
    first_s, all_s, cpu_s, peak, _ = json.loads(done.stdout)
    return {
        "prompts": prompts,
        "lines": lines,
        "answer_s": round(answer_s, 2),
        "first_look_up_s": round(first_s, 2),
        "processor_s": round(cpu_s, 2),
        "us_a_line": round(1e6 * all_s / lines, 1),
        "peak_mib": round(peak / MIB),
    }


def of_size(prompts: int, lines: list[int], store: str | None) -> list[dict[str, Any]]:
    """The figures for a store of so many prompts, which is written first unless it is given."""
    if store is not None:
        return [measure(store, prompts, number) for number in lines]
    with tempfile.TemporaryDirectory() as folder:
        Filled(Path(folder), prompts)
        return [measure(folder, prompts, number) for number in lines]


def main() -> None:
    """Print the figures of each size."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--prompts", type=int, nargs="+", default=[100_000])
    parser.add_argument("--lines", type=int, nargs="+", default=[1, 10_000])
    parser.add_argument("--store", help="a folder that an earlier run has filled")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    options = parser.parse_args()
    figures = [each for n in options.prompts for each in of_size(n, options.lines, options.store)]
    show_figures(figures, as_json=options.json)


if __name__ == "__main__":
    main()
