"""A sink polls its topics while it reads and writes tables: no call blocks its event loop."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.fake_source import every_partition
from support.loop_watch import watched_loop
from support.mixed_log import make_mixed_log
from support.sink_loop import QUICK, member
from support.store import DeltaStore
from support.waiting import eventually

pytestmark = pytest.mark.real


async def test_taking_over_flushing_and_merging_leave_the_loop_free(tmp_path: Path) -> None:
    log, _ = make_mixed_log(2000)
    store = DeltaStore(tmp_path / "store")
    sinks = [store.sink(), store.sink()]
    total = sum(map(len, log.messages.values()))
    with watched_loop():
        for sink in sinks:  # the second one reads the index that the first one left
            async with member(log, sink, QUICK) as one:
                await one.source.assign(every_partition())
                await eventually(lambda: sum(log.committed.values()) == total)
