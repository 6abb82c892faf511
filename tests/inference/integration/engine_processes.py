"""The processes of an engine under load, to be killed one by one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from promptmill.inference.ports import GenerateRequest
from promptmill.inference.vllm import process_group
from promptmill.inference.vllm.generate import VllmGenerator
from promptmill.runtime.errors import EngineDead
from promptmill_schemas import Message, Sampling

if TYPE_CHECKING:
    from promptmill.inference.vllm.process import ProcessCore
from support.waiting import eventually


def asked(seed: int, max_tokens: int = 24) -> GenerateRequest:
    """A request for one answer."""
    sampling = Sampling(max_tokens=max_tokens)
    return GenerateRequest(f"r{seed}", (Message(role="user", content="Go on."),), sampling, seed)


def core_of(engine: VllmGenerator) -> ProcessCore:
    """The engine's core in processes of its own."""
    from promptmill.inference.vllm.process import ProcessCore

    core = engine._model.core
    assert isinstance(core, ProcessCore)
    return core


def named(engine: VllmGenerator, part: str) -> int:
    """The first process of the group whose name has this part."""
    names = {pid: Path(f"/proc/{pid}/comm").read_text() for pid in core_of(engine).pids}
    return next(pid for pid, name in sorted(names.items()) if part in name)


async def all_die(engine: VllmGenerator, requests: list[asyncio.Task[object]]) -> None:
    """Every request fails, later ones too, and no process of the group is left."""
    for result in await asyncio.gather(*requests, return_exceptions=True):
        assert isinstance(result, EngineDead), result
    with pytest.raises(EngineDead):
        await engine.generate(asked(1))
    # The group is ended beside the event loop, so its last process may outlive the errors.
    await eventually(lambda: process_group.members(core_of(engine)._mark) == [])
    await eventually(lambda: not any(each.exists() for each in core_of(engine)._segments))


def begin(engine: VllmGenerator) -> list[asyncio.Task[object]]:
    """Work without an end, many requests at a time."""
    return [asyncio.create_task(_keep_asking(engine, first)) for first in range(100, 164)]


async def _keep_asking(engine: VllmGenerator, seed: int) -> object:
    while True:
        await engine.generate(asked(seed, max_tokens=2000))
        seed += 1000
