"""The processes of one engine: found by a mark in their environment, ended together.

vLLM starts an engine core, which starts the ranks. A worker that is killed cannot end them,
and they would compute for nobody for ever; so a guard, which runs this file, waits at a pipe
from the worker and ends what is marked when the pipe closes, for whatever reason.

Only the standard library, since the guard starts without site packages.
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
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - only to free what the ranks have mapped

END_S = 5.0
"""How long a killed process may take to be gone."""

LOOKS = 3
"""So often in a row nobody is found before the group is gone: see :func:`members`."""


@contextmanager
def marked(mark: str) -> Iterator[None]:
    """Processes that are started meanwhile carry the mark.

    The process in which Python counts shared resources is started before: it serves this
    process as well and has to outlive the engine.
    """
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()
    os.environ[VARIABLE] = mark
    try:
        yield
    finally:
        del os.environ[VARIABLE]


def members(mark: str) -> list[int]:
    """The living processes that carry the mark; one that replaces itself may be missing.

    While a process executes its program, right after it was started, it has no environment.
    """
    return [int(entry.name) for entry in PROCESSES.iterdir() if _carries(entry, mark)]


def lives(pid: int, mark: str) -> bool:
    """Whether this process still runs, and is no other one with the same number."""
    return _carries(PROCESSES / str(pid), mark)


def segments(mark: str) -> set[Path]:
    """Files of shared memory that the group has mapped; ranks often leave theirs behind."""
    return set().union(*map(_segments, members(mark)))


def end(mark: str, owned: Iterable[Path] = ()) -> None:
    """Kill the whole group and free its shared memory.

    Args:
        owned: segments that it had, for when its processes are gone already.
    """
    freed = {*owned, *segments(mark)}
    deadline, empty = time.monotonic() + END_S, 0
    while empty < LOOKS and time.monotonic() < deadline:
        group = members(mark)
        empty = 0 if group else empty + 1
        _kill(group)
        time.sleep(0.02)
    for segment in freed:
        segment.unlink(missing_ok=True)


def start_guard(mark: str) -> subprocess.Popen[bytes]:
    """A process that ends the group when its standard input closes."""
    command = [sys.executable, "-I", "-S", __file__, mark]
    return subprocess.Popen(  # noqa: S603 - this very file
        command, stdin=subprocess.PIPE, start_new_session=True
    )


def stop_guard(guard: subprocess.Popen[bytes]) -> None:
    """The group has ended; nothing is left for the guard to do."""
    if guard.stdin is not None:
        guard.stdin.close()
    guard.wait()


def _carries(entry: Path, mark: str) -> bool:
    """A zombie's environment is empty, so it does not count."""
    if not entry.name.isdecimal():
        return False
    try:
        return f"{VARIABLE}={mark}".encode() in (entry / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _segments(pid: int) -> set[Path]:
    """Files of shared memory that a process has mapped."""
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
