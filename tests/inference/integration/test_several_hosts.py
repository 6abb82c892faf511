"""One group over two hosts, both of them this machine: a stage of the pipeline on each."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

import pytest

from inference.integration.engine_processes import all_die, asked, begin, named
from promptmill.inference.vllm.generate import VllmGenerator
from promptmill.inference.vllm.options import Hosts, VllmOptions
from promptmill.runtime.errors import EngineDead
from promptmill_demo.models.demo import DemoModels
from support.engines import started
from support.waiting import eventually

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(600),  # three processes import vLLM, perhaps on a busy machine
]


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


async def answers(engine: VllmGenerator) -> list[str]:
    drawn = await asyncio.gather(*(engine.generate(asked(seed)) for seed in range(16)))
    return [answer.text for answer in drawn]


@asynccontextmanager
async def further_host(options: VllmOptions) -> AsyncIterator[asyncio.subprocess.Process]:
    """An instruct worker as on a second machine: the same settings, and its own number."""
    settings = {
        "model": options.model,
        "dtype": options.dtype,
        "pipeline-parallel": options.pipeline_parallel,
        **{name.replace("_", "-"): value for name, value in asdict(options.hosts).items()},
        "node-rank": 1,
    }
    flags = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "promptmill.instruct", *flags
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def test_two_stages_on_two_hosts_answer_as_one_and_a_killed_core_ends_both(
    demo_models: DemoModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_HOST_IP", "127.0.0.1")
    options = VllmOptions(
        str(demo_models.instruct),
        dtype="float32",
        pipeline_parallel=2,
        hosts=Hosts(2, 0, "127.0.0.1", free_port()),
    )
    async with further_host(options) as other:
        async with started(VllmGenerator(options)) as engine:
            together = await answers(engine)
            assert await answers(engine) == together
            assert len(set(together)) == 16

            requests = begin(engine)
            await eventually(lambda: engine.load.running > 0)
            os.kill(named(engine, "EngineCor"), signal.SIGKILL)
            await asyncio.wait_for(all_die(engine, requests), 60)
            requests.clear()  # their errors keep vLLM's frames, and those its sockets
        assert await asyncio.wait_for(other.wait(), 60) == EngineDead.exit_code
