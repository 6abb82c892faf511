"""Sees what keeps an event loop from running, on a machine that has other work as well.

The time of a callback on the wall says nothing on a busy machine: its thread may only have waited
for a processor. So what counts is the processor time of its thread and what it has slept. Opening
or writing a Delta table works in other threads while this one waits; no callback may do it at all.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import pytest
from deltalake import DeltaTable

LIMIT_S = 0.05
REFUSED = ("__init__", "update_incremental", "to_pyarrow_dataset", "create_write_transaction")
"""Of ``DeltaTable``: what no callback may call."""


@dataclass(frozen=True)
class Blocked:
    """A callback that took too long.

    Attributes:
        stack: of its last sleep or refused call; empty if it only computed.
    """

    seconds: float
    callback: str
    stack: str

    def __str__(self) -> str:
        return f"{1000 * self.seconds:.0f} ms in {self.callback}\n{self.stack}"


@dataclass
class LoopWatch:
    """What has blocked the loop of the thread that is watched."""

    limit_s: float
    found: list[Blocked] = field(default_factory=list)
    thread: int = field(default_factory=threading.get_ident)
    is_running: bool = False
    slept_s: float = 0.0
    stack: str = ""

    def check(self) -> None:
        """Fail if anything took too long."""
        assert not self.found, "the event loop was blocked:\n" + "\n".join(map(str, self.found))

    def run(self, handle: asyncio.Handle, run: Callable[[asyncio.Handle], None]) -> None:
        """One callback, measured."""
        if threading.get_ident() != self.thread:
            run(handle)
            return
        self.slept_s, self.stack, self.is_running = 0.0, "", True
        began = time.thread_time()
        try:
            run(handle)
        finally:
            self.is_running = False
            took = time.thread_time() - began + self.slept_s
            if took > self.limit_s:
                self.found.append(Blocked(took, _named(handle), self.stack))

    def sleep(self, seconds: float, sleep: Callable[[float], None]) -> None:
        """A sleep of any thread; in a callback it counts in full."""
        if self._is_in_callback():
            self.slept_s += seconds
            self.stack = "".join(traceback.format_stack())
        sleep(seconds)

    def refuse(self, call: str) -> None:
        """A call that waits for other threads or for storage."""
        if self._is_in_callback():
            self.found.append(Blocked(0.0, call, "".join(traceback.format_stack())))

    def _is_in_callback(self) -> bool:
        return self.is_running and threading.get_ident() == self.thread


def _named(handle: asyncio.Handle) -> str:
    """What has run: the task, where there is one, says more than its handle."""
    task = getattr(handle._callback, "__self__", None)  # type: ignore[attr-defined]
    return repr(task) if isinstance(task, asyncio.Task) else repr(handle)


@contextmanager
def watched_loop(limit_s: float = LIMIT_S, ignored: str = "") -> Iterator[LoopWatch]:
    """Measure every callback of this thread's event loop; fails at the end if one took longer.

    Args:
        ignored: part of the names of tasks that may take longer.
    """
    watch, run, sleep = LoopWatch(limit_s), asyncio.Handle._run, time.sleep
    gc.collect()
    gc.freeze()  # what other tests have left does not count
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio.Handle, "_run", lambda handle: watch.run(handle, run))
        patch.setattr(time, "sleep", lambda seconds: watch.sleep(seconds, sleep))
        for name in REFUSED:
            patch.setattr(DeltaTable, name, _refused(watch, name, getattr(DeltaTable, name)))
        try:
            yield watch
        finally:
            gc.unfreeze()
    watch.found = [each for each in watch.found if not (ignored and ignored in each.callback)]
    watch.check()


def _refused(watch: LoopWatch, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def call(*given: Any, **options: Any) -> Any:
        watch.refuse(f"DeltaTable.{name}")
        return method(*given, **options)

    return call
