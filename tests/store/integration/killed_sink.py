"""A sink in a process of its own that a test kills: ``python killed_sink.py SETTINGS``.

SETTINGS is JSON: the store's folder, a log as base64 by ``topic-shard``, and where to die:
``{"at": step, "after": n, "delay_ms": d}``, d milliseconds after the n-th arrival at the step.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from base64 import b64decode
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from promptmill.stream.ports import Partition
from support.fake_source import Log, every_partition
from support.sink_loop import QUICK, member
from support.store import DeltaStore
from support.waiting import eventually


class Death:
    """Kills the process at the n-th arrival at a step, or some time after it."""

    def __init__(self, at: str, after: int, delay_ms: float) -> None:
        self._at = at
        self._after = after
        self._delay_ms = delay_ms
        self._seen: Counter[str] = Counter()

    def __call__(self, step: str) -> None:
        self._seen[step] += 1
        if step != self._at or self._seen[step] < self._after:
            return
        if self._delay_ms:
            threading.Timer(self._delay_ms / 1000, self.strike).start()
        else:
            self.strike()

    @staticmethod
    def strike() -> None:
        """Nothing of this process runs any more."""
        os.kill(os.getpid(), signal.SIGKILL)


def read_log(encoded: dict[str, list[str]]) -> Log:
    """The log that the test wrote."""
    log = Log()
    for name, values in encoded.items():
        topic, _, shard = name.rpartition("-")
        log.put_raw(Partition(topic, int(shard)), *(b64decode(value) for value in values))
    return log


async def run(settings: dict[str, Any]) -> None:
    """Store the whole log, unless killed before."""
    log = read_log(settings["log"])
    death = Death(settings["at"], settings["after"], settings["delay_ms"])
    sink = DeltaStore(Path(settings["folder"])).sink(step=death)
    limits = replace(QUICK, flush_rows=settings["flush_rows"], flush_delay_s=0.01)
    async with member(log, sink, limits) as one:
        await one.source.assign(every_partition())
        total = sum(map(len, log.messages.values()))
        await eventually(lambda: sum(log.committed.values()) == total, 60)


if __name__ == "__main__":
    asyncio.run(run(json.loads(sys.stdin.read())))
