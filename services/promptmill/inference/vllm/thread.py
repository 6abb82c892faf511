"""vLLM inside this process, in a thread of its own.

A single CPU rank needs no second process. It starts in seconds instead of half a minute, and
nothing is serialised between processes. Only the engine's thread uses the engine, and only the
event loop's thread uses the futures.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from vllm.config import VllmConfig
from vllm.distributed import cleanup_dist_env_and_memory
from vllm.v1.engine.llm_engine import LLMEngine

from promptmill.inference.vllm.config import make_config
from promptmill.inference.vllm.environment import quiet_loggers
from promptmill.inference.vllm.options import Runner, VllmOptions
from promptmill.inference.vllm.ports import translate
from promptmill.inference.vllm.progress import EngineProgress
from promptmill.runtime.errors import EngineDead, PromptmillError

CLOSE_S = 10.0
"""Seconds that the current step may take when the engine is closed.

After that the daemon thread is abandoned.
"""


@dataclass(frozen=True, slots=True)
class _Add:
    key: str
    token_ids: list[int]
    params: Any
    lora: Any


@dataclass(frozen=True, slots=True)
class _Abort:
    key: str


class ThreadCore:
    """An engine in a thread; see :class:`~promptmill.inference.vllm.ports.Core`."""

    config: VllmConfig
    tokenizer: Any

    def __init__(self, options: VllmOptions, runner: Runner, progress: EngineProgress) -> None:
        self._options = options
        self._runner = runner
        self._progress = progress
        self._commands: SimpleQueue[_Add | _Abort | None] = SimpleQueue()
        self._futures: dict[str, asyncio.Future[Any]] = {}
        self._numbers = itertools.count()
        self._dead: EngineDead | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        started: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(
            target=self._main, args=(started,), name="vllm-engine", daemon=True
        )
        self._thread.start()
        await started

    async def run(self, request_id: str, token_ids: list[int], params: Any, lora: Any) -> Any:
        if self._dead is not None:
            raise self._dead
        key = f"{request_id}.{next(self._numbers)}"
        future = asyncio.get_running_loop().create_future()
        self._futures[key] = future
        self._commands.put(_Add(key, token_ids, params, lora))
        try:
            return await future
        except asyncio.CancelledError:
            self._commands.put(_Abort(key))
            raise
        finally:
            del self._futures[key]

    def check(self) -> None:
        """Do nothing: there is no other process, and a failing thread reports its own error."""

    def kill(self, reason: str) -> None:
        self._die(EngineDead(reason))
        self._commands.put(None)

    async def close(self) -> None:
        self._die(EngineDead("the engine has been closed"))
        self._commands.put(None)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, CLOSE_S)

    def _die(self, error: EngineDead) -> None:
        """Fail all outstanding and later requests with this error, or with an earlier one."""
        self._dead = self._dead or error
        for future in self._futures.values():
            if not future.done():
                future.set_exception(self._dead)

    def _main(self, started: asyncio.Future[None]) -> None:
        """The main function of the engine's thread: load the model, serve, release the model."""
        try:
            engine = self._build()
        except Exception as error:  # noqa: BLE001 - passed to the caller of start()
            self._call_in_loop(_fail, started, error)
            return
        self._call_in_loop(_succeed, started, None)
        try:
            self._serve(engine)
        except Exception as error:  # noqa: BLE001 - passed to every caller of run()
            cause = translate(error)
            self._call_in_loop(
                self._die, cause if isinstance(cause, EngineDead) else EngineDead(str(cause))
            )
        finally:
            _free(engine)

    def _build(self) -> LLMEngine:
        self.config = make_config(self._options, self._runner)
        engine = LLMEngine.from_vllm_config(self.config, disable_log_stats=True)
        quiet_loggers()
        self.tokenizer = engine.renderer.tokenizer
        return engine

    def _serve(self, engine: LLMEngine) -> None:
        """Execute commands and steps until stopped; wait only while no request is unfinished."""
        scheduler = engine.engine_core.engine_core.scheduler
        while True:
            busy = engine.has_unfinished_requests()
            while (command := self._next(wait=not busy)) is not _NOTHING:
                if command is None:
                    return
                self._execute(engine, command)
                busy = engine.has_unfinished_requests()
            if busy:
                finished = [output for output in engine.step() if output.finished]
                self._progress.stepped(*scheduler.get_request_counts())
                if finished:
                    self._call_in_loop(self._settle, finished)

    def _next(self, *, wait: bool) -> Any:
        try:
            return self._commands.get(block=wait)
        except Empty:
            return _NOTHING

    def _execute(self, engine: LLMEngine, command: _Add | _Abort) -> None:
        if isinstance(command, _Abort):
            engine.abort_request([command.key])
            return
        prompt = {"prompt_token_ids": command.token_ids}
        try:
            engine.add_request(command.key, prompt, command.params, lora_request=command.lora)
        except Exception as error:  # noqa: BLE001 - passed to this request's caller
            self._call_in_loop(self._refuse, command.key, translate(error))

    def _settle(self, finished: list[Any]) -> None:
        for output in finished:
            _succeed(self._futures.get(output.request_id), output)

    def _refuse(self, key: str, error: PromptmillError) -> None:
        _fail(self._futures.get(key), error)

    def _call_in_loop(self, call: Callable[..., None], *args: Any) -> None:
        """Call a function in the event loop's thread, unless the loop has been closed."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *args)


_NOTHING = object()


def _succeed(future: asyncio.Future[Any] | None, result: Any) -> None:
    if future is not None and not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any] | None, error: Exception) -> None:
    if future is not None and not future.done():
        future.set_exception(error)


def _free(engine: LLMEngine) -> None:
    engine.engine_core.shutdown()
    cleanup_dist_env_and_memory()
