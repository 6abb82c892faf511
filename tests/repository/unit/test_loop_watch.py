"""The watch on event loops sees what blocks them, and nothing else."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from support.loop_watch import watched_loop

BLOCK_S = 0.1


def compute() -> None:
    """Keep a processor busy."""
    end = time.thread_time() + BLOCK_S
    while time.thread_time() < end:
        pass


@pytest.mark.parametrize("block", [lambda: time.sleep(BLOCK_S), compute], ids=["sleep", "compute"])
async def test_a_planted_block_is_noticed(block: Callable[[], None]) -> None:
    async def blocked() -> None:
        block()

    with pytest.raises(AssertionError, match="the event loop was blocked"), watched_loop() as watch:
        await asyncio.create_task(blocked())
    (found,) = watch.found
    assert found.seconds >= BLOCK_S


async def test_a_table_is_not_opened_in_the_loop(tmp_path: Path) -> None:
    async def blocked() -> None:
        with suppress(TableNotFoundError):
            DeltaTable(str(tmp_path))

    with pytest.raises(AssertionError, match=r"DeltaTable\.__init__"), watched_loop():
        await asyncio.create_task(blocked())


async def test_what_runs_in_a_thread_or_waits_blocks_nothing() -> None:
    with watched_loop():
        await asyncio.gather(
            asyncio.to_thread(time.sleep, BLOCK_S), asyncio.sleep(BLOCK_S), asyncio.sleep(0)
        )


@pytest.fixture
def busy_machine() -> Iterator[None]:
    """Several processes for each processor."""
    spin = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(spin) for _ in range(6)]
    yield
    for other in others:
        other.kill()
        other.wait()


@pytest.mark.usefixtures("busy_machine")
async def test_a_wait_for_a_processor_is_no_block() -> None:
    with watched_loop():
        for _ in range(200):
            await asyncio.sleep(0)
            sum(range(10_000))
