"""The processes of one engine, which carry a mark in their environment and are ended together.

vLLM starts an engine core, which starts the ranks. A worker that is killed cannot end them, and
they would run indefinitely. A guard process, which executes this file, therefore reads from a pipe
of the worker, and kills all marked processes when the pipe closes for whatever reason.

This module uses only the standard library, because the guard starts without site packages.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

VARIABLE = "PROMPTMILL_ENGINE_GROUP"
PROCESSES = Path("/proc")
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - only to remove segments that the ranks mapped

END_S = 5.0
"""Maximum seconds to wait for killed processes to disappear."""

REQUIRED_EMPTY_SCANS = 3
"""Consecutive empty scans before the group counts as dead; see :func:`members` for the reason."""


@contextmanager
def marked(mark: str) -> Iterator[None]:
    """Mark all processes that are started within this context.

    Python's resource tracker is started before, without the mark: this process uses it as well,
    so it has to outlive the engine.
    """
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()
    os.environ[VARIABLE] = mark
    try:
        yield
    finally:
        del os.environ[VARIABLE]


def members(mark: str) -> list[int]:
    """The ids of the live processes that carry the mark.

    A process that is just replacing its program (``exec``) has no environment for a moment, and
    may be missing.
    """
    return [int(entry.name) for entry in PROCESSES.iterdir() if _carries(entry, mark)]


def lives(pid: int, mark: str) -> bool:
    """Whether this process is alive, and is not another one that has reused the id."""
    return _carries(PROCESSES / str(pid), mark)


def segments(mark: str) -> set[Path]:
    """The shared-memory files that the group has mapped; ranks often leave them behind."""
    return set().union(*map(_segments, members(mark)))


def end(mark: str, owned: Iterable[Path] = ()) -> None:
    """Kill the whole group and remove its shared memory.

    Args:
        mark: the group's mark.
        owned: known segments of the group, in case its processes have already exited.
    """
    freed = {*owned, *segments(mark)}
    deadline, empty = time.monotonic() + END_S, 0
    while empty < REQUIRED_EMPTY_SCANS and time.monotonic() < deadline:
        group = members(mark)
        empty = 0 if group else empty + 1
        _kill(group)
        time.sleep(0.02)
    for segment in freed:
        segment.unlink(missing_ok=True)


def start_guard(mark: str) -> subprocess.Popen[bytes]:
    """Start a process that ends the group when its standard input closes."""
    command = [sys.executable, "-I", "-S", __file__, mark]
    return subprocess.Popen(  # noqa: S603 - this very file
        command, stdin=subprocess.PIPE, start_new_session=True
    )


def stop_guard(guard: subprocess.Popen[bytes]) -> None:
    """Stop the guard, after the group has ended."""
    if guard.stdin is not None:
        guard.stdin.close()
    guard.wait()


def _carries(entry: Path, mark: str) -> bool:
    """Whether a process carries the mark; a zombie's environment is empty, so it does not count."""
    if not entry.name.isdecimal():
        return False
    try:
        return f"{VARIABLE}={mark}".encode() in (entry / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _segments(pid: int) -> set[Path]:
    """The shared-memory files that a process has mapped."""
    try:
        maps = (PROCESSES / str(pid) / "maps").read_text()
    except OSError:
        return set()
    names = [columns[5] for line in maps.splitlines() if len(columns := line.split(None, 5)) > 5]
    return {Path(name) for name in names if Path(name).parent == SHARED_MEMORY}


def _kill(pids: Iterable[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


if __name__ == "__main__":
    sys.stdin.buffer.read()
    end(sys.argv[1])
