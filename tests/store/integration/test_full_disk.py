"""Storage that has no room: nothing is skipped, nothing half written is seen."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from promptmill.lake.ports import TableName
from promptmill.runtime.errors import Unavailable
from support.fake_source import Log
from support.sink_loop import member, offsets, stored
from support.store import DeltaStore, batch, pid, record
from support.waiting import eventually

pytestmark = pytest.mark.real

RECORDS = TableName.RECORDS
NO_ROOM_BYTES = 2000


@contextmanager
def no_room() -> Iterator[None]:
    """Files of this process can be no longer than 2,000 bytes: log entries fit, rows do not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (NO_ROOM_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def store(tmp_path: Path) -> DeltaStore:
    """An empty store."""
    return DeltaStore(tmp_path / "store")


def test_a_write_that_finds_no_room_changes_nothing_and_can_be_repeated(store: DeltaStore) -> None:
    sink = store.sink()
    sink.take_over([0])
    work = batch([(0, 0, record("a", pad=5000))], {0: (None, 1)})
    with no_room(), pytest.raises(Unavailable, match="File too large"):
        sink.commit(RECORDS, work)
    assert stored(store, RECORDS) == []
    sink.commit(RECORDS, work)
    assert stored(store, RECORDS) == [pid("a")]


async def test_a_sink_waits_for_room_and_then_stores_everything(store: DeltaStore) -> None:
    log = Log()
    async with member(log, store.sink()) as one:
        await one.assign()
        with no_room():
            log.put(0, *(record(str(number), pad=500) for number in range(100)))
            await eventually(lambda: len(one.probe.retries) >= 3)
            await asyncio.to_thread(lambda: stored(store, RECORDS) == [])
        await eventually(lambda: one.probe.done == 100)
    assert offsets(store, RECORDS) == {0: list(range(100))}
