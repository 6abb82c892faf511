"""A generator in real vLLM in processes of its own: tensor parallel, and what kills it."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from inference.integration.engine_processes import all_die, asked, begin, core_of, named
from promptmill.inference.vllm.generate import VllmGenerator
from promptmill.inference.vllm.options import VllmOptions
from promptmill.runtime.errors import Misconfigured
from promptmill_demo.models.demo import DemoModels
from support.engines import started
from support.waiting import eventually

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(600),  # four processes import vLLM, perhaps on a busy machine
]


async def test_two_ranks_answer_and_a_killed_rank_ends_the_group(demo_models: DemoModels) -> None:
    options = VllmOptions(str(demo_models.instruct), tensor_parallel=2, dtype="float32")
    async with started(VllmGenerator(options)) as engine:
        assert engine.info.tensor_parallel == 2
        assert len(core_of(engine).pids) == 3
        first = await engine.generate(asked(5))
        assert await engine.generate(asked(5)) == first
        assert (await engine.generate(asked(6))).text != first.text
        answers = await asyncio.gather(*(engine.generate(asked(seed)) for seed in range(32)))
        assert len({answer.text for answer in answers}) == 32

        requests = begin(engine)
        await eventually(lambda: core_of(engine)._progress.load.running > 0)
        os.kill(named(engine, "Worker"), signal.SIGKILL)
        await asyncio.wait_for(all_die(engine, requests), 60)


async def test_an_engine_that_hangs_without_an_error_is_ended_by_the_watchdog(
    demo_models: DemoModels,
) -> None:
    options = VllmOptions(str(demo_models.instruct), own_process=True)
    async with started(VllmGenerator(options)) as engine:
        assert (await engine.generate(asked(5))).text
        engine._model.watchdog_s = 3.0  # from now on: a start on a busy machine is slow
        requests = begin(engine)
        await eventually(lambda: core_of(engine)._progress.load.running > 0)
        os.kill(named(engine, "EngineCor"), signal.SIGSTOP)
        await asyncio.wait_for(all_die(engine, requests), 60)


async def test_a_model_that_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["NoSuchModel"]}')
    engine = VllmGenerator(VllmOptions(str(tmp_path)))
    with pytest.raises(Misconfigured, match="vLLM cannot load"):
        await engine.start()
    await engine.close()
