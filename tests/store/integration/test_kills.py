"""A sink that is killed at any step of a commit leaves no half of it, and loses nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from promptmill.lake.ports import TableName
from support.fake_source import Log
from support.mixed_log import encode_log, ends_of, make_mixed_log
from support.store_audit import audit, read_delta

pytestmark = [pytest.mark.real, pytest.mark.chaos]

SMALL, LARGE = 40, 4000
SCRIPT = Path(__file__).with_name("killed_sink.py")
ROOT = Path(__file__).parents[3]
STEPS = [
    f"{step}:{table}"
    for step in ("claimed", "checked", "written", "committed")
    for table in TableName
]


def store_all(folder: Path, log: Log, at: str = "", after: int = 1, delay_ms: float = 0) -> int:
    """Run a sink over the log; its exit code."""
    settings = {
        "folder": str(folder),
        "log": encode_log(log),
        "at": at,
        "after": after,
        "delay_ms": delay_ms,
        "flush_rows": SMALL if at else LARGE,
    }
    paths = [str(ROOT / name) for name in ("services", "schemas", "tests")]
    done = subprocess.run(
        [sys.executable, str(SCRIPT)],
        input=json.dumps(settings),
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )
    if done.returncode not in (0, -signal.SIGKILL):
        raise AssertionError(done.stderr)
    return done.returncode


def test_a_sink_killed_at_each_step_in_turn_loses_and_doubles_nothing(tmp_path: Path) -> None:
    log, expected = make_mixed_log(1000)
    for step in STEPS:
        assert store_all(tmp_path, log, at=step) == -signal.SIGKILL, f"{step} was not reached"
    assert store_all(tmp_path, log) == 0
    audit(read_delta(tmp_path, ends_of(log)), expected, ends_of(log))


def test_a_sink_killed_at_any_moment_inside_a_commit_loses_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    log, expected = make_mixed_log(1000)
    killed = 0
    for attempt in range(6):
        step = ("checked:records", "written:records", "checked:dead_letters")[attempt % 3]
        code = store_all(tmp_path, log, at=step, after=2, delay_ms=1 + 4 * attempt)
        killed += code == -signal.SIGKILL
    assert store_all(tmp_path, log) == 0
    assert killed >= 3
    audit(read_delta(tmp_path, ends_of(log)), expected, ends_of(log))
