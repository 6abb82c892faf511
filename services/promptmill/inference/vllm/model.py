"""The life cycle of a model in vLLM: start-up, canary, watchdog and shutdown."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

import structlog

from promptmill.inference.vllm.conversation import Renderer
from promptmill.inference.vllm.environment import prepare_environment, runs_on_cpu
from promptmill.inference.vllm.options import Runner, VllmOptions
from promptmill.inference.vllm.ports import Core
from promptmill.inference.vllm.progress import EngineProgress
from promptmill.runtime.errors import EngineDead

log = structlog.get_logger(__name__)

WATCH_INTERVAL_S = 1.0

EDGE_BYTES = 1 << 20
"""Bytes read from each end of a file for its digest, so that large weights are read quickly."""


class VllmModel:
    """The parts that a generator and a grader in vLLM share."""

    def __init__(self, options: VllmOptions, runner: Runner) -> None:
        self.options = options
        self.watchdog_s = options.watchdog_s
        self.progress = EngineProgress()
        self.revision = ""
        self._runner = runner
        self._core: Core | None = None
        self._renderer: Renderer | None = None
        self._watchdog: asyncio.Task[None] | None = None

    @property
    def core(self) -> Core:
        """The engine core; raises ``EngineDead`` before ``start``."""
        if self._core is None:
            raise EngineDead("the engine has not been started")
        return self._core

    @property
    def renderer(self) -> Renderer:
        """The renderer of conversations; raises ``EngineDead`` before ``start``."""
        if self._renderer is None:
            raise EngineDead("the engine has not been started")
        return self._renderer

    @property
    def name(self) -> str:
        """The name of the model's folder, or its name on the model hub."""
        folder = self.options.folder
        return self.options.model if folder is None else folder.name

    @property
    def context_tokens(self) -> int:
        """Maximum tokens of a conversation with its answer."""
        return int(self.core.config.model_config.max_model_len)

    async def start(self, canary: Callable[[], Awaitable[object]]) -> None:
        """Load the model, and return when the canary has succeeded.

        Args:
            canary: sends a first request.
        """
        with _step("import", self.name):
            self._core = await asyncio.to_thread(
                make_core, self.options, self._runner, self.progress
            )
        with _step("load", self.name):
            await self._core.start()
        self.revision = await asyncio.to_thread(self._find_revision)
        answers = self._runner == "generate"
        thinking = self.options.thinking if answers else None
        self._renderer = Renderer(
            self._core.tokenizer,
            self.context_tokens,
            answers=answers,
            arguments=None if thinking is None else thinking.template_arguments(),
        )
        self._watchdog = asyncio.create_task(self._watch())
        with _step("canary", self.name):
            await canary()

    async def run(self, request_id: str, token_ids: list[int], params: Any, lora: Any) -> Any:
        """Return the finished output of a request."""
        with self.progress.request():
            return await self.core.run(request_id, token_ids, params, lora)

    async def close(self) -> None:
        """Stop the watchdog, the engine and the renderer."""
        if self._watchdog is not None:
            self._watchdog.cancel()
        if self._core is not None:
            await self._core.close()
        if self._renderer is not None:
            self._renderer.close()

    async def _watch(self) -> None:
        """Kill the engine if requests are outstanding and it makes no progress."""
        silent = 0.0
        while silent < self.watchdog_s:
            await asyncio.sleep(min(WATCH_INTERVAL_S, self.watchdog_s / 4))
            self.core.check()
            silent = self.progress.silent_s()
        self.core.kill(
            f"{self.progress.outstanding} requests are outstanding and none has made progress for "
            f"{silent:.0f} s (limit {self.watchdog_s:.0f} s): the engine hangs"
        )

    def _find_revision(self) -> str:
        folder = self.options.folder
        if folder is not None:
            return folder_digest(folder)
        commit = getattr(self.core.config.model_config.hf_config, "_commit_hash", None)
        return str(commit or self.options.revision or "")


@contextmanager
def _step(step: str, model: str) -> Iterator[None]:
    """Log the beginning and the end of one step of the start-up."""
    log.info("engine_step", step=step, model=model)
    start = time.monotonic()
    yield
    log.info("engine_step_done", step=step, model=model, seconds=round(time.monotonic() - start, 1))


def folder_digest(folder: Path) -> str:
    """BLAKE2b-128 of the names, sizes, and first and last MiB of the files in a folder."""
    digest = blake2b(digest_size=16)
    for path in sorted(folder.iterdir()):
        if not path.is_file():
            continue
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as file:
            digest.update(file.read(EDGE_BYTES))
            file.seek(max(file.tell(), size - EDGE_BYTES))
            digest.update(file.read(EDGE_BYTES))
    return digest.hexdigest()


def make_core(options: VllmOptions, runner: Runner, progress: EngineProgress) -> Core:
    """Create the engine core: in this process for a single CPU rank, else in other processes."""
    inside = options.ranks == 1 and options.own_process is not True
    prepare_environment(options, in_process=inside)
    if inside and (runs_on_cpu() or options.own_process is False):
        from promptmill.inference.vllm.thread import ThreadCore

        return ThreadCore(options, runner, progress)
    from promptmill.inference.vllm.process import ProcessCore

    prepare_environment(options, in_process=False)
    return ProcessCore(options, runner, progress)
