"""The end of a worker process: in time, whatever hangs, and with an honest exit code."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from promptmill.runtime.timing import MIN_CLOSING_S
from promptmill.worker.lifecycle import EXIT_LIMIT_S

GRACE_S = 0.4
TOLERANCE_S = 30.0
PROGRAM = """
import asyncio, os, sys, time
from contextlib import AsyncExitStack
from promptmill.worker.lifecycle import Worker, run_main, run_worker
from promptmill.stream.stage_settings import StageSettings
from promptmill.store.settings import StoreSettings

async def hang():
    await asyncio.sleep(3600)

async def hang_in_thread():
    await asyncio.to_thread(time.sleep, 3600)

async def nothing():
    print("closed", flush=True)

class Loop:
    in_flight, waiting, assigned = 0, 0, ()
    def __init__(self):
        self.joined, self.told = asyncio.Event(), asyncio.Event()
    def stop(self, deadline=None):
        self.told.set()
    async def run(self):
        self.joined.set()
        print("running", flush=True)
        await self.told.wait()

async def build(stack, metrics):
    stack.push_async_callback(nothing)
    if sys.argv[0] == "build":
        print("running", flush=True)
        await hang_in_thread()
    if sys.argv[0] != "clean":
        stack.push_async_callback({"close": hang, "thread": hang_in_thread}[sys.argv[0]])
    return Worker(Loop())

async def serve(settings):
    await run_worker(settings, build)

sys.argv = [os.environ["HANGING"]]
sys.exit(run_main(StoreSettings, "", serve))
"""


async def start(hanging: str, home: Path) -> asyncio.subprocess.Process:
    """A worker of which this hangs; it is running."""
    environment = {"PROMPTMILL_GRACE_S": str(GRACE_S), "HANGING": hanging}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment, "PROMPTMILL_HOME": str(home)},
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"running\n"
    return process


@pytest.mark.parametrize("hanging", ["clean", "close", "thread", "build"])
async def test_a_worker_ends_in_time_whatever_hangs(hanging: str, tmp_path: Path) -> None:
    process = await start(hanging, tmp_path)
    try:
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        limit_s = GRACE_S + MIN_CLOSING_S + EXIT_LIMIT_S + TOLERANCE_S
        async with asyncio.timeout(limit_s):
            said, _ = await process.communicate()
        assert b"closed" in said
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, f"after {time.monotonic() - began:.1f} s"


async def test_a_worker_that_a_library_aborts_says_where(tmp_path: Path) -> None:
    process = await start("clean", tmp_path)
    process.send_signal(signal.SIGABRT)
    _, said = await process.communicate()
    assert process.returncode == -signal.SIGABRT
    assert b"Fatal Python error: Aborted" in said
    assert b"in serve" in said or b"in run_main" in said
