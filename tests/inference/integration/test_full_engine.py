"""A worker with the slots that it takes by itself never lets its engine run short."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from promptmill.inference.engines import watch_engine
from promptmill.inference.vllm.generate import VllmGenerator
from promptmill.inference.vllm.options import VllmOptions
from promptmill.instruct.settings import InstructSettings
from promptmill.instruct.work import Instruct
from promptmill.runtime.telemetry.metrics import StageMetrics
from promptmill.stream.loop import StreamLoop
from promptmill.stream.stage_settings import parse_settings
from promptmill.testing.broker import MemoryBroker, MemorySender, MemorySource
from promptmill_demo.models.demo import DemoModels
from promptmill_schemas import Message, Prompt, Sampling, encode
from promptmill_schemas.topics import PROMPTS
from support.engines import started
from support.waiting import eventually

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("ignore")]

SEQUENCES = 4
RECORDS = 120


@pytest_asyncio.fixture
async def engine(demo_models: DemoModels) -> AsyncIterator[VllmGenerator]:
    options = VllmOptions(str(demo_models.instruct), dtype="float32", sequences=SEQUENCES)
    async with started(VllmGenerator(options)) as engine:
        yield engine


def fill(broker: MemoryBroker) -> None:
    """Prompts with one candidate each: the fewest requests that a slot can make."""
    for number in range(RECORDS):
        messages = (Message(role="user", content=f"Question {number}?"),)
        prompt = Prompt.create("full", messages, sampling=Sampling(max_tokens=48))
        broker.append(PROMPTS.name, prompt.prompt_id.encode(), encode(prompt))


def record_steps(engine: VllmGenerator, patch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What was running and waiting after each of the engine's steps."""
    steps: list[tuple[int, int]] = []
    progress = engine._model.progress
    told = progress.stepped

    def stepped(running: int, waiting: int) -> None:
        steps.append((running, waiting))
        told(running, waiting)

    patch.setattr(progress, "stepped", stepped)
    return steps


async def test_the_engine_is_full_as_long_as_there_are_records(
    engine: VllmGenerator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PROMPTMILL_HOME", str(tmp_path))
    settings = parse_settings(InstructSettings, ["--sequences", str(SEQUENCES)], "")
    broker, metrics = MemoryBroker(), StageMetrics("instruct", time.monotonic)
    fill(broker)
    steps = record_steps(engine, monkeypatch)
    watch_engine(metrics, engine)
    loop = StreamLoop(
        MemorySource(broker, "group", [PROMPTS.name]),
        MemorySender(broker),
        Instruct(engine, metrics),
        stage="instruct",
        topic=PROMPTS,
        settings=settings.loop_settings(),
        probe=metrics,
    )
    running = asyncio.create_task(loop.run())
    full = f'promptmill_engine_running{{stage="instruct"}} {SEQUENCES}.0'
    await eventually(lambda: full in metrics.exposition().decode())
    await eventually(lambda: metrics.done == RECORDS)
    loop.stop()
    await running
    assert 'promptmill_engine_waiting{stage="instruct"} 0.0' in metrics.exposition().decode()

    assert max(at_work for at_work, _ in steps) == SEQUENCES
    queued = [index for index, (_, waiting) in enumerate(steps) if waiting > 0]
    while_fed = steps[queued[0] : queued[-1] + 1]
    short = [step for step in while_fed if sum(step) < SEQUENCES]
    assert len(while_fed) > RECORDS
    assert len(short) < len(while_fed) / 20, "an engine with room, and records that could fill it"
