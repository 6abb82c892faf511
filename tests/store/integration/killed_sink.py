"""Sinks, and mergers of their files, in processes of their own that a test kills or freezes."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import psutil

from promptmill.lake.compaction import compact
from promptmill.lake.ports import TableName
from promptmill.lake.vacuum import vacuum_table
from promptmill.runtime.errors import Unavailable
from support.fake_source import Log, every_partition
from support.sink_loop import QUICK, member
from support.store import DeltaStore
from support.waiting import eventually

SMALL, LARGE = 40, 4000
STEPS = [
    f"{step}:{table}"
    for step in ("claimed", "checked", "written", "committed")
    for table in TableName
]

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])  # each process begins with everything imported


@dataclass(frozen=True)
class Death:
    """Where a sink dies: so many milliseconds after its n-th arrival at a step.

    Attributes:
        freezes: it stops there instead, and goes on with ``SIGCONT``.
    """

    at: str
    after: int = 1
    delay_ms: float = 0
    freezes: bool = False


def start_sink(folder: Path, log: Log, death: Death | None = None) -> ForkServerProcess:
    """A process that stores the whole log, unless it dies before."""
    return _started(_store, folder, log, death)


def start_merging(folder: Path, retention_hours: int) -> ForkServerProcess:
    """A process that merges any two files, and vacuums, until it is killed."""
    return _started(_merge, folder, retention_hours)


def _started(target: object, *arguments: object) -> ForkServerProcess:
    process = _CONTEXT.Process(target=target, args=arguments)  # type: ignore[arg-type]
    process.start()
    return process


def wait_until_frozen(process: ForkServerProcess) -> None:
    """Wait until a sink has stopped itself."""
    sink = psutil.Process(process.pid)
    until = time.monotonic() + 600
    while sink.status() != psutil.STATUS_STOPPED:
        assert time.monotonic() < until, "the sink did not reach its step"
        time.sleep(0.01)


def go_on(process: ForkServerProcess) -> None:
    """Wake a frozen sink up."""
    assert process.pid is not None
    os.kill(process.pid, signal.SIGCONT)


def exit_code(process: ForkServerProcess) -> int:
    """Wait for the end of a sink; it has stored everything or was killed."""
    process.join(700)
    code = process.exitcode
    assert code in (0, -signal.SIGKILL), f"a sink ended with {code}"
    return code


def _store(folder: Path, log: Log, death: Death | None) -> None:
    asyncio.run(_run(folder, log, death))


async def _run(folder: Path, log: Log, death: Death | None) -> None:
    sink = DeltaStore(folder).sink(step=_Killer(death) if death else lambda _step: None)
    limits = replace(QUICK, flush_rows=SMALL if death else LARGE, flush_delay_s=0.01)
    async with member(log, sink, limits) as one:
        await one.source.assign(every_partition())
        total = sum(map(len, log.messages.values()))
        await eventually(lambda: sum(log.committed.values()) == total, 600)


class _Killer:
    def __init__(self, death: Death) -> None:
        self._death = death
        self._seen: Counter[str] = Counter()

    def __call__(self, step: str) -> None:
        self._seen[step] += 1
        if step != self._death.at or self._seen[step] < self._death.after:
            return
        if self._death.freezes:
            if self._seen[step] == self._death.after:
                os.kill(os.getpid(), signal.SIGSTOP)
            return
        if self._death.delay_ms:
            threading.Timer(self._death.delay_ms / 1000, self._strike).start()
        else:
            self._strike()

    @staticmethod
    def _strike() -> None:
        """Nothing of this process runs any more."""
        os.kill(os.getpid(), signal.SIGKILL)


def _merge(folder: Path, retention_hours: int) -> None:
    while True:
        for name in TableName:
            with suppress(Unavailable):  # the table does not exist yet, or all tries lost
                compact(str(folder / name), growth=1)
                vacuum_table(str(folder / name), retention_hours)
        time.sleep(0.1)
