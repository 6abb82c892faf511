from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from promptmill.devstack.daemon import Daemon, stop_all
from promptmill.runtime.errors import Fatal
from support.waiting import eventually_now

SLEEP = "import time; print('awake', flush=True); time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(
        name="sleeper",
        marker=tmp_path / "sleeper.conf",
        folder=tmp_path,
        pid_file=tmp_path / "run" / "sleeper.pid",
        log=tmp_path / "log",
        output=tmp_path / "logs" / "sleeper.out",
    )
    yield made
    made.adopt()
    made.kill()


def start(daemon: Daemon, code: str = SLEEP) -> psutil.Process:
    """Starts the daemon and waits until its code runs."""
    daemon.start((sys.executable, "-c", code, str(daemon.marker)), {})
    eventually_now(lambda: "awake" in daemon.last_output())
    process = daemon.process()
    assert process is not None
    return process


def test_a_started_process_has_its_own_session_folder_and_environment(daemon: Daemon) -> None:
    process = start(daemon)
    assert os.getsid(process.pid) == process.pid != os.getsid(0)
    assert process.cwd() == str(daemon.folder)
    assert set(process.environ()) <= {"PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE"}
    assert int(daemon.pid_file.read_text()) == process.pid


def test_a_stopped_process_leaves_no_pid_file(daemon: Daemon) -> None:
    process = start(daemon)
    stop_all([daemon], grace_s=10)
    assert not process.is_running()
    assert not daemon.is_running()
    assert not daemon.pid_file.exists()


def test_a_process_that_ignores_sigterm_is_killed_after_the_grace(daemon: Daemon) -> None:
    process = start(daemon, STUBBORN)
    stop_all([daemon], grace_s=0.2)
    assert not process.is_running()


def test_a_frozen_process_can_be_stopped_in_peace(daemon: Daemon) -> None:
    farewell = "signal.signal(signal.SIGTERM, lambda *_: (print('bye', flush=True), exit()))"
    start(daemon, f"import signal; {farewell}; {SLEEP}")
    daemon.pause()
    eventually_now(lambda: _status(daemon) == psutil.STATUS_STOPPED)
    assert daemon.is_running()
    stop_all([daemon], grace_s=10)
    assert "bye" in daemon.last_output()


def test_a_resumed_process_runs_again(daemon: Daemon) -> None:
    start(daemon)
    daemon.pause()
    eventually_now(lambda: _status(daemon) == psutil.STATUS_STOPPED)
    daemon.resume()
    eventually_now(lambda: _status(daemon) != psutil.STATUS_STOPPED)


def test_a_process_killed_by_somebody_else_does_not_run_any_more(daemon: Daemon) -> None:
    process = start(daemon)
    os.kill(process.pid, signal.SIGKILL)
    eventually_now(lambda: not daemon.is_running())
    assert not psutil.pid_exists(process.pid), "a child of ours must be reaped"


def test_a_process_runs_while_it_replaces_itself(daemon: Daemon) -> None:
    # As a server does at its start: the shell becomes the program. For an instant there are no
    # arguments to know it by.
    again = daemon.folder / "again.sh"
    again.write_text('[ $2 -gt 0 ] && exec sh "$0" "$1" $(($2 - 1)); echo awake; sleep 600; :')
    daemon.start(("/bin/sh", str(again), str(daemon.marker), "1000"), {})
    while "awake" not in daemon.last_output():
        assert daemon.is_running()


def test_a_pid_that_now_belongs_to_another_process_is_left_alone(daemon: Daemon) -> None:
    daemon.pid_file.parent.mkdir()
    daemon.pid_file.write_text(f"{os.getpid()}\n")
    assert not daemon.is_running()
    daemon.pause()
    stop_all([daemon], grace_s=0)
    assert not daemon.pid_file.exists()


@pytest.mark.parametrize("content", ["", "no number", "99999999"])
def test_a_damaged_or_stale_pid_file_means_that_nothing_runs(daemon: Daemon, content: str) -> None:
    daemon.pid_file.parent.mkdir()
    daemon.pid_file.write_text(content)
    assert not daemon.is_running()


def test_a_process_whose_pid_file_was_lost_is_adopted(daemon: Daemon) -> None:
    process = start(daemon)
    daemon.pid_file.unlink()
    assert not daemon.is_running()
    daemon.adopt()
    assert daemon.process() == process


def test_a_child_with_the_same_arguments_is_not_taken_for_the_server(daemon: Daemon) -> None:
    fork = "import os, time; pid = os.fork(); print('awake', flush=True); time.sleep(600)"
    process = start(daemon, fork)
    (child,) = eventually_now(process.children)
    os.kill(process.pid, signal.SIGKILL)
    eventually_now(lambda: not daemon.is_running())
    daemon.adopt()
    try:
        assert not daemon.is_running()
    finally:
        child.kill()


def test_killing_ends_the_children_too(daemon: Daemon) -> None:
    fork = "import os, time; pid = os.fork(); print('awake', flush=True); time.sleep(600)"
    (child,) = eventually_now(start(daemon, fork).children)
    daemon.kill()
    eventually_now(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_the_output_of_the_run_before_is_kept_beside_the_new(daemon: Daemon) -> None:
    start(daemon, f"print('first'); {SLEEP}")
    daemon.kill()
    start(daemon, f"print('second'); {SLEEP}")
    assert "second" in daemon.last_output()
    assert "first" not in daemon.last_output()
    assert "first" in daemon.output.with_name("sleeper.out.1").read_text()


def test_a_program_that_does_not_exist_ends_at_once_and_says_so(daemon: Daemon) -> None:
    daemon.start(("/no/such/program", str(daemon.marker)), {})
    eventually_now(lambda: not daemon.is_running())
    assert "/no/such/program" in daemon.last_output()


def test_a_process_that_cannot_be_created_is_a_fatal_error(daemon: Daemon) -> None:
    with pytest.raises(Fatal, match="cannot start sleeper"):
        daemon.start(("/bin/true", str(daemon.marker)), {"TOO_LONG": "x" * 1_000_000})


def _status(daemon: Daemon) -> str:
    process = daemon.process()
    assert process is not None
    return str(process.status())
