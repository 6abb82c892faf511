"""A sink whose storage or source hangs while it stops ends in time all the same."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest

from promptmill.lake.ports import Batch, TableName
from promptmill.runtime.timing import MIN_CLOSING_S
from promptmill.store.sink_loop import SinkLoop, SinkPublisher
from promptmill.testing.lake import MemorySink
from support.fake_source import FakeSource, Log, every_partition
from support.sink_loop import QUICK, TOPICS, Noted
from support.store import SharedStore, identities, prompt
from support.waiting import eventually

GRACE_S = 0.4
TOLERANCE_S = 10.0
LIMITS = replace(QUICK, grace_s=GRACE_S)


class HangingSink(MemorySink):
    """Its commits, or its opening, hang in their thread until the test ends."""

    def __init__(self, store: SharedStore, release: threading.Event, hangs_in: str) -> None:
        super().__init__(store.memory, identities())
        self._release = release
        self._hangs_in = hangs_in
        self.hangs = threading.Event()

    def _reach(self, call: str) -> None:
        if call == self._hangs_in:
            self.hangs.set()
            self._release.wait()

    def open(self) -> None:
        self._reach("open")
        super().open()

    def commit(self, table: TableName, batch: Batch) -> None:
        self._reach("commit")
        super().commit(table, batch)


class HangingSource(FakeSource):
    """It does not leave its group."""

    async def stop(self) -> None:
        await super().stop()
        await asyncio.Event().wait()


async def dead_letter(*_: object) -> None:
    raise AssertionError("nothing is undecodable here")


async def ends_in_time(running: asyncio.Task[None]) -> None:
    await asyncio.wait({running}, timeout=GRACE_S + MIN_CLOSING_S + TOLERANCE_S)
    assert running.done()
    await running


@pytest.mark.parametrize("call", ["open", "commit"])
async def test_storage_that_hangs_does_not_outlast_the_deadline(call: str) -> None:
    release = threading.Event()
    log, sink = Log(), HangingSink(SharedStore(), release, call)
    source = FakeSource(log)
    loop = SinkLoop(source, sink, TOPICS, SinkPublisher(dead_letter), probe=Noted(), limits=LIMITS)
    running = asyncio.create_task(loop.run())
    if call == "commit":
        log.put(0, prompt("a"))
        await eventually(lambda: source.is_running)
        await source.assign(every_partition())
    try:
        await eventually(sink.hangs.is_set)
        loop.stop()
        await ends_in_time(running)
    finally:
        release.set()
    assert not source.is_running


async def test_a_source_that_hangs_does_not_outlast_the_deadline() -> None:
    source = HangingSource(Log())
    sink = MemorySink(SharedStore().memory, identities())
    loop = SinkLoop(source, sink, TOPICS, SinkPublisher(dead_letter), probe=Noted(), limits=LIMITS)
    running = asyncio.create_task(loop.run())
    await eventually(lambda: source.is_running)
    loop.stop()
    await ends_in_time(running)
