"""Readers as processes that are killed: 3 ranks x 2 workers, each record exactly once."""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Sequence
from multiprocessing.context import SpawnProcess
from pathlib import Path

import orjson
import pytest

from promptmill.training import merge_states
from support.waiting import PATIENCE_S
from training.integration.growing import Growing, batches, read_in_batches

RANKS, WORKERS = 3, 2
PARTS = [(rank, RANKS, worker, WORKERS) for rank in range(RANKS) for worker in range(WORKERS)]

pytestmark = [pytest.mark.real, pytest.mark.chaos, pytest.mark.timeout(600)]


def started(
    table: Growing, logs: list[Path], parts: Sequence[tuple[int, ...]], idle_s: float | None = None
) -> list[SpawnProcess]:
    """A process for each part."""
    context = multiprocessing.get_context("spawn")
    found = [
        context.Process(target=read_in_batches, args=(table.uri, str(log), part, idle_s))
        for log, part in zip(logs, parts, strict=True)
    ]
    for process in found:
        process.start()
    return found


def test_each_record_arrives_exactly_once(tmp_path: Path) -> None:
    chance = random.Random(6)
    table = Growing(tmp_path / "store")
    table.grow(2)
    logs = [tmp_path / f"{rank}-{worker}.jsonl" for rank, _, worker, _ in PARTS]
    for _ in range(2):
        before = [len(batches(log)) for log in logs]
        processes = started(table, logs, PARTS)
        while not all(len(batches(log)) > n + 1 for log, n in zip(logs, before, strict=True)):
            assert all(process.is_alive() for process in processes)
            table.grow(chance.randrange(1, 4))
            if chance.random() < 0.3:
                table.records.compact()
        for process in processes:
            process.kill()
        for process in processes:
            process.join(PATIENCE_S)

    # Two ranks of two workers continue from what the six readers have logged.
    merged = merge_states(batches(log)[-1]["state"] for log in logs)
    parts = [(rank, 2, worker, 2) for rank in range(2) for worker in range(2)]
    rest = [tmp_path / f"rest-{number}.jsonl" for number in range(4)]
    for log in rest:
        log.write_bytes(orjson.dumps({"batch": [], "state": merged}) + b"\n")
    table.grow(3)
    for process in started(table, rest, parts, idle_s=1.0):
        process.join(PATIENCE_S)
        assert process.exitcode == 0

    found = [each for log in (*logs, *rest) for batch in batches(log) for each in batch["batch"]]
    assert sorted(found) == table.ids
