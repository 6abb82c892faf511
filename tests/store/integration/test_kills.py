"""A sink that is killed at any step of a commit leaves no half of it, and loses nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from store.integration.killed_sink import (
    STEPS,
    Death,
    exit_code,
    go_on,
    start_merging,
    start_sink,
    wait_until_frozen,
)
from store.integration.outside_reader import IDS, OutsideReader
from support.fake_source import Log
from support.mixed_log import ends_of, make_mixed_log
from support.store_audit import Holdings, audit, read_delta

LOOPS = int(os.environ.get("PROMPTMILL_TEST_KILL_LOOPS", "1"))
"""Kills at every step under readers; PROMPTMILL_TEST_KILL_LOOPS=50 where there is time."""

PROMPTS_A_STEP = 50
ENGINES = ("delta-rs", "duckdb")

pytestmark = [pytest.mark.real, pytest.mark.chaos, pytest.mark.timeout(900 + 900 * LOOPS)]


def store_all(folder: Path, log: Log, death: Death | None = None) -> bool:
    """Run a sink over the log; whether it was killed."""
    return exit_code(start_sink(folder, log, death)) == -signal.SIGKILL


def test_a_sink_killed_at_each_step_in_turn_loses_and_doubles_nothing(tmp_path: Path) -> None:
    log, expected = make_mixed_log(1000)
    for step in STEPS:
        assert store_all(tmp_path, log, Death(step)), f"{step} was not reached"
    assert not store_all(tmp_path, log)
    audit(read_delta(tmp_path, ends_of(log)), expected, ends_of(log))


def test_a_sink_killed_at_any_moment_inside_a_commit_loses_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    log, expected = make_mixed_log(1000)
    killed = 0
    for attempt in range(6):
        step = ("checked:records", "written:records", "checked:dead_letters")[attempt % 3]
        killed += store_all(tmp_path, log, Death(step, after=2, delay_ms=1 + 4 * attempt))
    assert not store_all(tmp_path, log)
    assert killed >= 3
    audit(read_delta(tmp_path, ends_of(log)), expected, ends_of(log))


@pytest.mark.parametrize(("retention_hours", "first"), [(24, 0), (0, 1)])
def test_others_read_whole_tables_while_two_sinks_are_killed_at_each_step(
    tmp_path: Path, retention_hours: int, first: int
) -> None:
    """One freezes at the step, another takes its shards and dies, and the first wakes up.

    Meanwhile, a third process merges and vacuums, until it is killed too.

    Without a retention, a version's files may be deleted before they are read, so a reading may be
    repeated. With one, every reading succeeds at once.
    """
    total: Counter[str] = Counter()
    steps = STEPS if LOOPS > 1 else STEPS[first::2]  # both cases together have them all
    for loop in range(LOOPS):
        folder = tmp_path / str(loop)
        seen = kill_at_each_step(folder, steps, random.Random(loop), retention_hours, total)
        for engine, found in seen.items():
            total[f"readings of {engine}"] += sum(found["count"].values())
            total[f"repeated by {engine}"] += found["repeated"]
            assert found["wrong"] == [], f"{engine} in loop {loop}"
            assert all(found["count"].values())
            assert retention_hours == 0 or found["repeated"] == 0, found
        print(f"{loop + 1} loops, retention {retention_hours} h: {dict(total)}", flush=True)
    assert bool(total["deleted files"]) == (retention_hours == 0)


def kill_at_each_step(
    folder: Path,
    steps: Sequence[str],
    chance: random.Random,
    retention_hours: int,
    total: Counter[str],
) -> dict[str, dict[str, Any]]:
    """One store, whose log grows for each step; what the readers saw."""
    with ExitStack() as stack:
        readers = {engine: OutsideReader(engine, folder) for engine in ENGINES}
        for reader in readers.values():
            stack.callback(reader.kill)
        for number, step in enumerate(steps, 1):
            log, _ = make_mixed_log(PROMPTS_A_STEP * number)
            merging = start_merging(folder, retention_hours)
            stack.callback(merging.kill)
            zombie = start_sink(folder, log, Death(step, freezes=True))
            stack.callback(zombie.kill)
            wait_until_frozen(zombie)
            assert store_all(folder, log, Death(step)), f"{step} was not reached"
            go_on(zombie)
            time.sleep(chance.random() * 0.2)
            merging.kill()
            assert exit_code(zombie) == 0
            total["killed sinks"] += 1
        log, expected = make_mixed_log(PROMPTS_A_STEP * (len(steps) + 1))
        store_all(folder, log)
        audit(held := read_delta(folder, ends_of(log)), expected, ends_of(log))
        seen = {engine: reader.end() for engine, reader in readers.items()}
    for found in seen.values():
        assert found["rows"] == {name: stored(held, name) for name in IDS}
    total["rows"] += sum(map(len, held.rows.values()))
    merged = total["merged files"]
    for name in IDS:
        replaced = replaced_files(folder / name)
        total["merged files"] += len(replaced)
        total["deleted files"] += sum(not (folder / name / path).exists() for path in replaced)
    assert total["merged files"] > merged
    return seen


def stored(held: Holdings, name: str) -> int:
    """The number of rows of a table without marks, which have no offset."""
    return sum(row["shard_offset"] >= 0 for row in held.rows[name.replace("_", "-")])


def replaced_files(table: Path) -> list[str]:
    """The files that mergers have replaced, by what the log says."""
    lines = [
        json.loads(line)
        for entry in (table / "_delta_log").glob("*.json")
        for line in entry.read_text().splitlines()
    ]
    return [line["remove"]["path"] for line in lines if "remove" in line]
