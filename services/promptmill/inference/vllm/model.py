"""A model in vLLM from its start to its end: steps, canary, watchdog, errors."""

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
from promptmill.inference.vllm.progress import Progress
from promptmill.runtime.errors import EngineDead

EDGE_BYTES = 1 << 20
"""Read from each end of a file, so that large weights cost nothing."""


def folder_digest(folder: Path) -> str:
    """BLAKE2b-128 over names, sizes, and the first and last MiB of the files in a folder."""
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


log = structlog.get_logger(__name__)

WATCH_INTERVAL_S = 1.0


class VllmModel:
    """What generator and grader share."""

    def __init__(self, options: VllmOptions, runner: Runner) -> None:
        self.options = options
        self.watchdog_s = options.watchdog_s
        self.progress = Progress()
        self.revision = ""
        self._runner = runner
        self._core: Core | None = None
        self._renderer: Renderer | None = None
        self._watchdog: asyncio.Task[None] | None = None

    @property
    def core(self) -> Core:
        """The engine; raises ``EngineDead`` before the start."""
        if self._core is None:
            raise EngineDead("the engine has not been started")
        return self._core

    @property
    def renderer(self) -> Renderer:
        """From conversations to token ids."""
        if self._renderer is None:
            raise EngineDead("the engine has not been started")
        return self._renderer

    @property
    def name(self) -> str:
        """The folder's name, or the model's name at the hub."""
        folder = self.options.folder
        return self.options.model if folder is None else folder.name

    @property
    def context_tokens(self) -> int:
        """Longest conversation."""
        return int(self.core.config.model_config.max_model_len)

    async def start(self, canary: Callable[[], Awaitable[object]]) -> None:
        """Load the model and let it answer once.

        Args:
            canary: a first request; the model counts as started when it has succeeded.
        """
        with _step("import", self.name):
            self._core = await asyncio.to_thread(
                make_core, self.options, self._runner, self.progress
            )
        with _step("load", self.name):
            await self._core.start()
        self.revision = await asyncio.to_thread(self._find_revision)
        answers = self._runner == "generate"
        self._renderer = Renderer(self._core.tokenizer, self.context_tokens, answers=answers)
        self._watchdog = asyncio.create_task(self._watch())
        with _step("canary", self.name):
            await canary()

    async def run(self, request_id: str, token_ids: list[int], params: Any, lora: Any) -> Any:
        """One finished output."""
        with self.progress.request():
            return await self.core.run(request_id, token_ids, params, lora)

    async def close(self) -> None:
        """End the engine and everything that belongs to it."""
        if self._watchdog is not None:
            self._watchdog.cancel()
        if self._core is not None:
            await self._core.close()
        if self._renderer is not None:
            self._renderer.close()

    async def _watch(self) -> None:
        """End an engine that owes answers and computes nothing."""
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
    """Tell of one step of the start, before and after."""
    log.info("engine_step", step=step, model=model)
    start = time.monotonic()
    yield
    log.info("engine_step_done", step=step, model=model, seconds=round(time.monotonic() - start, 1))


def make_core(options: VllmOptions, runner: Runner, progress: Progress) -> Core:
    """The engine inside this process for a single CPU rank, else in processes of its own."""
    inside = options.ranks == 1 and options.own_process is not True
    prepare_environment(options, in_process=inside)
    if inside and (runs_on_cpu() or options.own_process is False):
        from promptmill.inference.vllm.thread import ThreadCore

        return ThreadCore(options, runner, progress)
    from promptmill.inference.vllm.process import ProcessCore

    prepare_environment(options, in_process=False)
    return ProcessCore(options, runner, progress)
