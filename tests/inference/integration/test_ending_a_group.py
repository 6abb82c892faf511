"""The end of an engine's processes is looked for beside the event loop, not in it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from promptmill.inference.vllm import process_group
from promptmill.inference.vllm.options import VllmOptions
from promptmill.inference.vllm.progress import EngineProgress
from promptmill.runtime.errors import EngineDead
from support.loop_watch import watched_loop

if TYPE_CHECKING:
    from promptmill.inference.vllm.process import ProcessCore

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("ignore")]

SLEEP = "import time; print('started', flush=True); time.sleep(600)"


@pytest.fixture
def core() -> ProcessCore:
    """The core of an engine that is never started."""
    from promptmill.inference.vllm.process import ProcessCore

    return ProcessCore(VllmOptions("no-model"), "generate", EngineProgress())


@pytest.fixture
def rank(core: ProcessCore) -> subprocess.Popen[bytes]:
    """A process that carries the core's mark."""
    with process_group.marked(core._mark):
        process = subprocess.Popen([sys.executable, "-c", SLEEP], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


async def test_a_group_is_killed_while_the_loop_goes_on(
    core: ProcessCore, rank: subprocess.Popen[bytes]
) -> None:
    core._dead = asyncio.get_running_loop().create_future()
    core.pids = [rank.pid]
    with watched_loop():
        core.kill("the test says so")
        await core.close()
    with pytest.raises(EngineDead, match="the test says so"):
        await core._dead
    assert await asyncio.to_thread(rank.wait, 60) == -9
