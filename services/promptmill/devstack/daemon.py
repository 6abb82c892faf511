"""A process that outlives the command that started it, known by its PID file.

The PID alone does not identify it, because after a crash the number may belong to another process.
A process is recognised only if the path of its configuration file is among its arguments. (A start
time would fail when the clock is set.)
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from promptmill.devstack.ports import PORT_IN_USE, PortTaken
from promptmill.runtime.errors import Fatal

_SIGNALS_TO_RESTORE = (signal.SIGPIPE, signal.SIGXFSZ)
"""Python ignores these signals, but servers should not."""
_KILLED_WITHIN_S = 10
_READY_POLL_S = 0.05
_UNCLEAR_POLLS, _UNCLEAR_POLL_S = 500, 0.01
_IN_FOLDER = 'cd "$1" && shift && exec "$@"'  # posix_spawn has no working directory


@dataclass(frozen=True, slots=True)
class Daemon:
    """A background process with its files.

    Attributes:
        name: the name that is shown to users.
        marker: absolute path of the configuration file, which is an argument of no other process.
        folder: the working directory, which must exist.
        pid_file: the PID file, which exists from the start to the stop.
        output: the file with the output of the running or last process; that of the previous
            process is kept with the suffix ``.1``.
        log: the file in which users find the reason of a failure.
        remedy: a remedy for a server that ends while it starts; may be empty.
    """

    name: str
    marker: Path
    folder: Path
    pid_file: Path
    output: Path
    log: Path
    remedy: str = ""

    def process(self) -> psutil.Process | None:
        """Return the process of the PID file, if it exists and has the marker."""
        try:
            process = psutil.Process(int(self.pid_file.read_text("ascii")))
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
            return None
        return process if str(self.marker) in _settled_arguments(process) else None

    def is_running(self) -> bool:
        """Return whether the process exists; a frozen process counts, a zombie does not."""
        return self.process() is not None

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start the process in its own session, so that Ctrl-C does not reach it.

        Args:
            command: the program and its arguments; ``marker`` must be one of them.
            environment: all variables of the process.

        Raises:
            Fatal: the process cannot be created.
        """
        for folder in (self.pid_file.parent, self.output.parent):
            folder.mkdir(parents=True, exist_ok=True)
        if self.output.exists():
            self.output.replace(self.output.with_name(self.output.name + ".1"))
        write, create = os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644
        try:
            pid = os.posix_spawn(
                "/bin/sh",
                ["sh", "-c", _IN_FOLDER, "sh", str(self.folder), *command],
                dict(environment),
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, str(self.output), write, create),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                setsid=True,
                setsigmask=[],
                setsigdef=_SIGNALS_TO_RESTORE,
            )
        except OSError as error:
            raise Fatal(f"cannot start {self.name} ({command[0]}): {error}") from error
        self.pid_file.write_text(f"{pid}\n", "ascii")

    def wait_ready(self, answers: Callable[[], bool], address: str, deadline: float) -> None:
        """Wait until the server answers.

        Args:
            answers: returns whether the server answers a request.
            address: the address of the server, for messages.
            deadline: the time limit, by the monotonic clock.

        Raises:
            PortTaken: the process ended because its port is in use.
            Fatal: the process ended, or did not answer in time; the message ends with its output.
        """
        while not answers():
            if not self.is_running():
                raise self._ended()
            if time.monotonic() > deadline:
                raise Fatal(f"{self.name} did not answer on {address} in time; see {self.log}")
            time.sleep(_READY_POLL_S)

    def _ended(self) -> Fatal:
        said = self.last_output()
        if PORT_IN_USE in said:
            return PortTaken(self.name)
        return Fatal(
            f"{self.name} exited while it was starting; see {self.log}{self.remedy}\n{said}"
        )

    def kill(self) -> None:
        """Kill the process and its children (SIGKILL), and wait until it has ended.

        Raises:
            Fatal: the kernel cannot end it.
        """
        if process := self.process():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if not _wait(process, timeout_s=_KILLED_WITHIN_S):
                raise Fatal(
                    f"{self.name} (PID {process.pid}) is still running {_KILLED_WITHIN_S} s after "
                    "SIGKILL; its disk may be blocked"
                )
        self.pid_file.unlink(missing_ok=True)

    def pause(self) -> None:
        """Freeze the process (SIGSTOP); its connections stay open without answers."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen process continue (SIGCONT)."""
        self._send(signal.SIGCONT)

    def ask_to_stop(self) -> None:
        """Send SIGTERM, and let a frozen process continue so that it can end."""
        self._send(signal.SIGTERM)
        self._send(signal.SIGCONT)

    def last_output(self, lines: int = 12) -> str:
        """Return the last lines of the process' output, for error messages."""
        with suppress(FileNotFoundError):
            return "\n".join(self.output.read_text("utf-8", "replace").splitlines()[-lines:])
        return ""

    def adopt(self) -> None:
        """Find a running process whose PID file was lost, and write the file again."""
        if self.is_running():
            return
        for process in psutil.process_iter():
            # A server's children have the same arguments, but are not session leaders.
            if self._is_ours(process) and _leads_session(process.pid):
                self.pid_file.parent.mkdir(parents=True, exist_ok=True)
                self.pid_file.write_text(f"{process.pid}\n", "ascii")

    def _send(self, number: signal.Signals) -> None:
        if process := self.process():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return str(self.marker) in process.cmdline()
        except (psutil.NoSuchProcess, psutil.AccessDenied):  # the first includes zombies
            return False


def stop_all(daemons: Iterable[Daemon], grace_s: float) -> None:
    """Send SIGTERM to all daemons, and kill those that still run after the grace period."""
    stopping = [(daemon, daemon.process()) for daemon in daemons]
    for daemon, _ in stopping:
        daemon.ask_to_stop()
    deadline = time.monotonic() + grace_s
    for daemon, process in stopping:
        if process:
            _wait(process, max(0.0, deadline - time.monotonic()))
        daemon.kill()


def _wait(process: psutil.Process, timeout_s: float) -> bool:
    """Wait for the process to end, and reap it if it is a child; return whether it has ended."""
    try:
        process.wait(timeout_s)
    except psutil.TimeoutExpired:
        return False
    return True


def _settled_arguments(process: psutil.Process) -> list[str]:
    """Return the arguments of a process, after waiting while it temporarily has none.

    A process has no arguments while it replaces itself (exec) and while it ends: a killed server is
    a zombie while its last threads still hold its ports and the lock of its data. Callers must use
    the result, because a second reading could again find no arguments.

    Returns:
        The arguments; empty if the process has ended or belongs to another user.
    """
    for _ in range(_UNCLEAR_POLLS):
        try:
            if arguments := process.cmdline():
                return list(arguments)
        except psutil.ZombieProcess:
            if _has_ended(process):
                return []
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return []
        time.sleep(_UNCLEAR_POLL_S)
    return []


def _has_ended(zombie: psutil.Process) -> bool:
    try:
        return os.waitpid(zombie.pid, os.WNOHANG)[0] == zombie.pid
    except ChildProcessError:  # not a child of this process, so its parent or init has to reap it
        try:
            return bool(zombie.num_threads() <= 1)
        except psutil.Error:
            return True


def _leads_session(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False
