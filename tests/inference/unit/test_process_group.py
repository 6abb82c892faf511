"""Processes of one engine are found by their mark and end together, whoever dies first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

from promptmill.inference.vllm import process_group
from support.waiting import eventually_now

MARK = f"test-engine-{os.getpid()}"
"""Another run of these tests, at the same time, has another one."""
SLEEP = "import time; print('started', flush=True); time.sleep(60)"


def python(program: str, *arguments: str) -> subprocess.Popen[bytes]:
    """A process that runs the program, once it has printed a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"started\n"
    return process


@pytest.fixture
def sleepers() -> Iterator[list[subprocess.Popen[bytes]]]:
    with process_group.marked(MARK):
        started = [python(SLEEP) for _ in range(2)]
    yield started
    for process in started:
        with process:
            process.kill()


def test_members_are_those_started_under_the_mark(
    sleepers: list[subprocess.Popen[bytes]],
) -> None:
    with python(SLEEP) as other:
        assert sorted(process_group.members(MARK)) == sorted(p.pid for p in sleepers)
        assert not process_group.lives(other.pid, MARK)
        other.kill()


def test_a_killed_process_no_longer_lives_even_before_it_is_reaped(
    sleepers: list[subprocess.Popen[bytes]],
) -> None:
    pid = sleepers[0].pid
    assert process_group.lives(pid, MARK)
    sleepers[0].kill()
    eventually_now(lambda: not process_group.lives(pid, MARK))


def test_end_kills_the_whole_group(sleepers: list[subprocess.Popen[bytes]]) -> None:
    process_group.end(MARK)
    assert process_group.members(MARK) == []
    assert [process.wait() for process in sleepers] == [-signal.SIGKILL] * 2


def test_end_does_not_trust_one_look(
    sleepers: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that replaces itself carries no mark for a moment."""
    look, blind = process_group.members, iter([True, True])
    monkeypatch.setattr(
        process_group, "members", lambda mark: [] if next(blind, False) else look(mark)
    )
    process_group.end(MARK)
    assert look(MARK) == []
    assert [process.wait(60) for process in sleepers] == [-signal.SIGKILL] * 2


def test_end_frees_the_shared_memory_of_killed_processes() -> None:
    program = """
        import mmap, sys
        with open("/dev/shm/" + sys.argv[1], "wb+") as file:
            file.truncate(4096)
            memory = mmap.mmap(file.fileno(), 4096)
        print("started", flush=True)
        sys.stdin.read()
    """
    name = "promptmill-test-segment"
    with process_group.marked(MARK):
        owner = python(program, name)
    segment = process_group.SHARED_MEMORY / name
    with owner:
        assert process_group.segments(MARK) == {segment}
        process_group.end(MARK)
    assert not segment.exists()


def test_end_frees_the_shared_memory_of_processes_that_are_gone() -> None:
    segment = process_group.SHARED_MEMORY / "promptmill-test-leftover"
    segment.touch()
    process_group.end(MARK, [segment, segment.with_name("promptmill-test-never-there")])
    assert not segment.exists()


def test_the_guard_ends_the_group_of_a_killed_owner() -> None:
    program = """
        import subprocess, sys, time
        from promptmill.inference.vllm import process_group
        guard = process_group.start_guard(sys.argv[1])
        with process_group.marked(sys.argv[1]):
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        print("started", flush=True)
        time.sleep(60)
    """
    mark = f"{MARK}-guarded"  # its guard may still be at it when the next test begins
    with python(program, mark) as owner:
        eventually_now(lambda: len(process_group.members(mark)) == 1)
        owner.kill()
    eventually_now(lambda: process_group.members(mark) == [])


def test_the_guard_goes_when_it_is_told(sleepers: list[subprocess.Popen[bytes]]) -> None:
    guard = process_group.start_guard(MARK)
    process_group.stop_guard(guard)
    assert guard.returncode == 0
    assert process_group.members(MARK) == []
