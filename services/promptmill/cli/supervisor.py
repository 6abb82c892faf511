"""A supervisor that starts, restarts and stops the worker processes of one machine."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from promptmill.runtime.errors import Fatal, Misconfigured

RESTART_AFTER_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
STEADY_AFTER_S = 60.0
OUTER_GRACE_S = 15.0


@dataclass(frozen=True, slots=True)
class Spec:
    """A worker that the supervisor keeps alive.

    Attributes:
        name: the name of its log file and in reports, for example ``instruct-0``.
        stage: its stage; the module ``promptmill.<stage>`` is run.
        arguments: its command-line arguments.
    """

    name: str
    stage: str
    arguments: Sequence[str] = ()

    @property
    def command(self) -> list[str]:
        """The command that starts the process."""
        return [sys.executable, "-m", f"promptmill.{self.stage}", *self.arguments]


@dataclass(slots=True)
class _Child:
    spec: Spec
    process: asyncio.subprocess.Process | None = None
    starts: int = 0
    failures: int = 0


Report = Callable[[str, str, dict[str, object]], None]


class Supervisor:
    """Keeps workers alive until it is stopped.

    A worker that exits is restarted after a growing pause. If a worker reports that it is
    misconfigured (exit code 78), all workers are stopped, because a restart would fail again. If
    a worker cannot be started (no memory, no disk space for its log), all workers are stopped as
    well, and the command fails, so that its own supervisor notices.

    Args:
        specs: the workers.
        environment: the environment of the workers.
        logs: folder of their log files, ``<name>.log``.
        report: called with an event, the worker's name and fields.
        grace_s: seconds that workers have to drain.
    """

    def __init__(
        self,
        specs: Sequence[Spec],
        environment: Mapping[str, str],
        logs: Path,
        report: Report,
        grace_s: float = 30.0,
    ) -> None:
        self._children = [_Child(spec) for spec in specs]
        self._environment = dict(environment)
        self._logs = logs
        self._report = report
        self._grace_s = grace_s
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Begin the shutdown of all workers."""
        self._stopping.set()

    async def run(self) -> None:
        """Keep the workers alive until :meth:`stop`, then drain them.

        Raises:
            Misconfigured: a worker is misconfigured, or another supervisor uses the same folder
                of logs.
            Fatal: a worker could not be started; the others were drained.
        """
        self._logs.mkdir(parents=True, exist_ok=True)
        with only_one(self._logs / "workers.lock"):
            await self._run()

    async def _run(self) -> None:
        """Run one task per worker; if one fails, the others drain their workers and end."""
        try:
            async with asyncio.TaskGroup() as keepers:
                for child in self._children:
                    keepers.create_task(self._keep(child))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from failures

    async def _keep(self, child: _Child) -> None:
        try:
            while not self._stopping.is_set():
                since = time.monotonic()
                code = await self._run_once(child)
                if self._stopping.is_set():
                    return
                if code == Misconfigured.exit_code:
                    raise self._misconfigured(child)
                steady = time.monotonic() - since > STEADY_AFTER_S
                child.failures = 0 if steady else child.failures + 1
                pause = RESTART_AFTER_S[min(child.failures, len(RESTART_AFTER_S) - 1)]
                self._report("worker_ended", child.spec.name, {"code": code, "again_in_s": pause})
                await self._pause(pause)
        finally:
            await self._end(child)

    def _misconfigured(self, child: _Child) -> Misconfigured:
        log = self._logs / f"{child.spec.name}.log"
        return Misconfigured(
            f"{child.spec.name} cannot run with its configuration: {last_line(log)} (see {log})"
        )

    async def _run_once(self, child: _Child) -> int | None:
        """Start the worker, and return its exit code; ``None`` if the supervisor is stopped."""
        child.process = await self._start(child)
        child.starts += 1
        fields: dict[str, object] = {"pid": child.process.pid, "starts": child.starts}
        self._report("worker_started", child.spec.name, fields)
        ended = asyncio.create_task(child.process.wait())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return child.process.returncode
        finally:
            ended.cancel()
            stopping.cancel()

    async def _start(self, child: _Child) -> asyncio.subprocess.Process:
        path = self._logs / f"{child.spec.name}.log"
        try:
            with path.open("ab") as log:
                return await asyncio.create_subprocess_exec(
                    *child.spec.command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self._environment,
                    start_new_session=True,  # Ctrl-C reaches only the supervisor, which drains them
                )
        except OSError as error:
            raise Fatal(
                f"{child.spec.name} cannot be started ({error}), so all workers were stopped: "
                f"free the missing resource (memory, processes, space for {path}) and run the "
                "command again"
            ) from error

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _end(self, child: _Child) -> None:
        process = child.process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self._grace_s + OUTER_GRACE_S):
                code = await process.wait()
        except TimeoutError:
            process.kill()
            code = await process.wait()
            self._report("worker_killed", child.spec.name, {"after_s": self._grace_s})
        self._report("worker_stopped", child.spec.name, {"code": code})


@contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Hold a lock, because the workers of two supervisors in one home would fence each other.

    The operating system releases the lock when the process ends, for whatever reason.

    Raises:
        Misconfigured: another supervisor holds the lock.
    """
    held = FileLock(lock)
    try:
        held.acquire(blocking=False)
    except Timeout as error:
        raise Misconfigured(
            f"another `promptmill run --all` is already supervising the workers ({lock} is "
            "locked): stop it first, or add single workers with `promptmill run instruct` "
            "and so on"
        ) from error
    try:
        yield
    finally:
        held.release()


def last_line(log: Path) -> str:
    """Return the last line of a log file, for an error message."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][:500] if lines else "its log is empty"
