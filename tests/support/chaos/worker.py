"""One worker process after another under one name, as a supervisor would keep it."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson
from aiohttp import ClientSession

from support.chaos.faults import FaultLog
from support.waiting import eventually

RESTART_AFTER_S = 0.3
START_WITHIN_S = 600.0
_TAIL, _SHOWN = 12, 400
"""Lines of a log, and characters of each, that an error shows."""

_DIE_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")


@dataclass(frozen=True, slots=True)
class Life:
    """What is asked of the next process.

    Attributes:
        faults: ``PROMPTMILL_FAULTS``.
        environment: on top of that of the worker.
    """

    faults: str = ""
    environment: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """How the processes of a worker follow each other.

    Attributes:
        first: the first process.
        following: asked before each later start.
        once: there is only the first.
        before: what the command begins with, for example ``ip netns exec …``.
    """

    first: Life = Life()
    following: Callable[[], Life] = Life
    once: bool = False
    before: tuple[str, ...] = ()


FOR_EVER = Terms()
ONCE = Terms(once=True)


def always(faults: str) -> Terms:
    """Every process has these faults."""
    return Terms(Life(faults), lambda: Life(faults))


def in_turn(*faults: str) -> Terms:
    """Each process has the next of these, the last ones have none."""
    remaining = iter(faults)
    return Terms(Life(next(remaining)), lambda: Life(next(remaining, "")))


class Worker:
    """A worker that is started again whenever its process ends, until it is let go.

    Args:
        name: in reports.
        stage: ``promptmill.<stage>`` is what runs.
        environment: all of it.
    """

    def __init__(
        self,
        name: str,
        stage: str,
        environment: Mapping[str, str],
        log_file: Path,
        log: FaultLog,
        terms: Terms,
    ) -> None:
        self.name = name
        self.stage = stage
        self.log_file = log_file
        self.lives = 0
        self.codes: list[int] = []
        self._environment = dict(environment)
        self._faults = log
        self._terms = terms
        self._life = terms.first
        self._wanted = True
        self._asked_to_end = False
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    # Lifetime

    def start_workers(self) -> None:
        """Start it, and again whenever it ends."""
        self._keeper = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        while self._wanted:
            self._process = await self._start()
            code = await self._process.wait()
            self._process = None
            self.codes.append(code)
            if code < 0 and -code not in {signal.SIGKILL, signal.SIGTERM}:
                print(f"{self.name} ended by signal {-code}; its log ends:\n{self._log_tail()}")
            if not self._asked_to_end and code == -signal.SIGKILL:
                self._faults.add("point", self.name, self.stage, self._life.faults)
            self._asked_to_end = False
            self._wanted = self._wanted and not self._terms.once
            if self._wanted:
                await asyncio.sleep(RESTART_AFTER_S)
                self._life = self._terms.following()

    async def _start(self) -> asyncio.subprocess.Process:
        self.lives += 1
        environment = {
            **self._environment,
            **(self._life.environment or {}),
            "PROMPTMILL_FAULTS": self._life.faults,
            "PROMPTMILL_FAULT_SEED": f"{self.name}.{self.lives}",
        }
        guard = _DIE_WITH_US if shutil.which(_DIE_WITH_US[0]) else ()
        with self.log_file.open("ab") as output:
            output.write(f'{{"event": "life", "number": {self.lives}}}\n'.encode())
            output.flush()
            return await asyncio.create_subprocess_exec(
                *self._terms.before,
                *guard,
                sys.executable,
                "-m",
                f"promptmill.{self.stage}",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )

    async def stop(self, number: int = signal.SIGTERM, within_s: float = 30.0) -> int:
        """End it for good; its exit code. What does not end in time is killed."""
        self._wanted = False
        self.signal(number)
        if self._keeper is None:
            return 0
        _, late = await asyncio.wait([self._keeper], timeout=within_s)
        if late:
            self.signal(signal.SIGKILL)
            await asyncio.wait([self._keeper])
        self._keeper.result()
        return self.codes[-1]

    async def ended(self, within_s: float = START_WITHIN_S) -> int:
        """Wait until its present process ends by itself; the exit code.

        One that is started only once may have ended already.
        """
        before = 0 if self._terms.once else len(self.codes)
        await eventually(lambda: len(self.codes) > before, within_s, f"{self.name} ends")
        return self.codes[before]

    # Faults

    @property
    def is_running(self) -> bool:
        """Whether there is a process now; a frozen one is."""
        return self._process is not None

    @property
    def pid(self) -> int | None:
        """Of the present process, if there is one."""
        return self._process.pid if self._process is not None else None

    def signal(self, number: int) -> None:
        """Send a signal, if there is a process; one that ends it is no surprise then."""
        if self._process is not None:
            self._asked_to_end = self._asked_to_end or number in (signal.SIGKILL, signal.SIGTERM)
            self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, if there is a process; it is started again."""
        if self.is_running:
            self._faults.add("sigkill", self.name, self.stage)
            self.signal(signal.SIGKILL)

    async def freeze(self, seconds: float) -> None:
        """SIGSTOP, then SIGCONT."""
        fault = self._faults.add("freeze", self.name, self.stage, f"{seconds:g} s")
        self.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.signal(signal.SIGCONT)
            fault.until = fault.at + seconds

    async def restart(self) -> int:
        """SIGTERM, wait for the end; it is started again. The exit code."""
        self._faults.add("sigterm", self.name, self.stage)
        ending = asyncio.create_task(self.ended())
        await asyncio.sleep(0)
        self.signal(signal.SIGTERM)
        return await ending

    # What it says

    def events(self, name: str) -> list[dict[str, object]]:
        """Its log events of this name, of all lives."""
        return [event for event in self._log() if event.get("event") == name]

    def _log(self) -> list[dict[str, object]]:
        lines = self.log_file.read_bytes().splitlines() if self.log_file.exists() else []
        return [orjson.loads(line) for line in lines if line.startswith(b"{")]

    async def metrics(self) -> dict[str, float]:
        """What its present process tells Prometheus, by name and labels."""
        url = self.events("starting")[-1]["health"]
        async with ClientSession() as session, session.get(f"{url}/metrics") as response:
            lines = (await response.text()).splitlines()
        samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}

    async def ready(self) -> None:
        """Wait until the present process has joined its group."""

        def is_ready() -> bool:
            last: list[object] = []
            for event in self._log():
                last = [] if event["event"] == "life" else [*last, event["event"]]
            return "ready" in last

        try:
            await eventually(is_ready, START_WITHIN_S, f"{self.name} is ready")
        except AssertionError as error:
            raise AssertionError(f"{error}; its log ends:\n{self._log_tail()}") from error

    def _log_tail(self) -> str:
        lines = self.log_file.read_text(errors="replace").splitlines()
        return "\n".join(line[:_SHOWN] for line in lines[-_TAIL:])
