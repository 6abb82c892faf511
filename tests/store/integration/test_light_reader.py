"""Commands that only count prompts load nothing that reads rows, which would take 60 MiB."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from promptmill.lake.ports import COUNTED, Batch, TableName
from support.store import PARTITIONS, DeltaStore, batch, prompt

pytestmark = pytest.mark.real

COUNT_TWICE = """
import json, sys
import promptmill.cli.status
from promptmill.cli.store_counts import open_counts

stored = open_counts(sys.argv[1])
for _ in range(2):
    counts = stored.published("test").prompts, stored.settled("test").total
    print(json.dumps([counts, sorted({"numpy", "pyarrow"} & sys.modules.keys())]), flush=True)
    sys.stdin.readline()
"""


def counted(offset: int) -> Batch:
    """A commit of one prompt, with the run's count so far."""
    name, step = TableName.PROMPTS, (offset or None, offset + 1)
    one = batch([(0, offset, prompt(f"number {offset}"))], {0: step}, name)
    return replace(one, counts={(0, "test"): offset + 1, (0, COUNTED): 1})


def test_status_reads_a_run_and_then_what_was_committed_since_without_pyarrow(
    tmp_path: Path,
) -> None:
    sink = DeltaStore(tmp_path / "store").sink()
    sink.take_over(range(PARTITIONS))
    sink.commit(TableName.PROMPTS, counted(0))
    child = [sys.executable, "-c", COUNT_TWICE, str(tmp_path / "store")]
    with subprocess.Popen(child, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert orjson.loads(process.stdout.readline()) == [[1, 0], []]
        sink.commit(TableName.PROMPTS, counted(1))
        out, _ = process.communicate(b"\n\n", timeout=120)
    assert orjson.loads(out) == [[2, 0], []]
