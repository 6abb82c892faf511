"""vLLM in processes of its own: an engine core and one process for each rank.

They form one unit: when one of them exits, the others are ended too.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import subprocess
import uuid
from pathlib import Path
from typing import Any

import structlog
from vllm.config import VllmConfig
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.metrics.loggers import StatLoggerBase

from promptmill.inference.vllm import process_group
from promptmill.inference.vllm.config import make_config
from promptmill.inference.vllm.environment import quiet_loggers, runs_on_cpu
from promptmill.inference.vllm.options import Runner, VllmOptions
from promptmill.inference.vllm.ports import translate
from promptmill.inference.vllm.progress import EngineProgress
from promptmill.runtime.errors import EngineDead, PromptmillError

log = structlog.get_logger(__name__)

CLOSE_S = 2.0
"""Seconds that the engine's processes have to end by themselves."""


class ProcessCore:
    """An engine in other processes; see :class:`~promptmill.inference.vllm.ports.Core`.

    Attributes:
        pids: the engine's processes; empty before ``start``.
    """

    config: VllmConfig
    tokenizer: Any

    def __init__(self, options: VllmOptions, runner: Runner, progress: EngineProgress) -> None:
        self._options = options
        self._runner = runner
        self._progress = progress
        self._numbers = itertools.count()
        self._mark = uuid.uuid4().hex
        self._guard: subprocess.Popen[bytes] | None = None
        self._starting: asyncio.Future[AsyncLLM] | None = None
        self._engine: AsyncLLM | None = None
        self._dead: asyncio.Future[Any] | None = None
        self._ending: asyncio.Future[None] | None = None
        self._segments: set[Path] = set()
        self.pids: list[int] = []

    async def start(self) -> None:
        self._dead = asyncio.get_running_loop().create_future()
        self._guard = await asyncio.to_thread(process_group.start_guard, self._mark)
        self._starting = asyncio.ensure_future(asyncio.to_thread(self._build))
        try:
            engine = await asyncio.shield(self._starting)
        except (PromptmillError, asyncio.CancelledError):
            raise
        except Exception as error:
            raise EngineDead(f"the engine did not start: {error}; see its log above") from error
        if self._options.pipeline_parallel > 1 and runs_on_cpu():
            # The first dummy batch creates the buffers between the pipeline stages. On a CPU
            # without compilation vLLM does not run it.
            await engine.collective_rpc("execute_dummy_batch")
        self.pids = await asyncio.to_thread(process_group.members, self._mark)
        self._segments = await asyncio.to_thread(process_group.segments, self._mark)
        self.tokenizer, self._engine = engine.renderer.tokenizer, engine

    async def run(self, request_id: str, token_ids: list[int], params: Any, lora: Any) -> Any:
        key = f"{request_id}.{next(self._numbers)}"
        output = asyncio.ensure_future(self._output(key, token_ids, params, lora))
        dead = self._require_dead()
        try:
            await asyncio.wait({output, dead}, return_when=asyncio.FIRST_COMPLETED)
            return (output if output.done() else dead).result()
        except Exception as error:
            raise self._translated(error) from error
        finally:
            await _cancel(output)

    async def _output(self, key: str, token_ids: list[int], params: Any, lora: Any) -> Any:
        engine, prompt = self._engine, {"prompt_token_ids": token_ids}
        if engine is None:
            raise EngineDead("the engine has not been started")
        call = engine.encode if self._runner == "pooling" else engine.generate
        return [output async for output in call(prompt, params, key, lora_request=lora)][-1]

    def _translated(self, error: Exception) -> PromptmillError:
        """The error for the caller. If the engine has died, that is the cause of every failure."""
        cause = translate(error)
        if self._engine is not None and self._engine.errored and not isinstance(cause, EngineDead):
            cause = EngineDead(f"the engine's processes have exited: {error}")
        if isinstance(cause, EngineDead):
            self.kill(str(cause))
        return cause

    def check(self) -> None:
        """Kill the engine if a rank has exited; vLLM itself checks this less often."""
        lost = [pid for pid in self.pids if not process_group.lives(pid, self._mark)]
        if lost:
            self.kill(f"the engine's process {lost[0]} has exited, so its whole group is stopped")

    def kill(self, reason: str) -> None:
        dead = self._require_dead()
        if dead.done():
            return
        log.error("engine_killed", reason=reason, pids=self.pids)
        dead.set_exception(EngineDead(reason))
        dead.exception()  # retrieved here, because without outstanding requests nothing else does
        # In a thread, because scanning /proc several times would block the event loop.
        self._ending = asyncio.ensure_future(
            asyncio.to_thread(process_group.end, self._mark, self._segments)
        )

    def _require_dead(self) -> asyncio.Future[Any]:
        """A future that never has a result, and fails when the engine dies."""
        if self._dead is None:
            raise EngineDead("the engine has not been started")
        return self._dead

    async def close(self) -> None:
        if self._starting is not None:
            await asyncio.wait({self._starting})
            if not self._starting.cancelled() and self._starting.exception() is None:
                await _shut_down(self._starting.result())
            self._engine = self._starting = None
        if self._ending is not None:
            await self._ending
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        """End the remaining processes."""
        gc.collect()  # runs the destructor of the engine, which has cycles, before the exit
        process_group.end(self._mark, self._segments)
        if self._guard is not None:
            process_group.stop_guard(self._guard)
            self._guard = None

    def _build(self) -> AsyncLLM:
        self.config = make_config(self._options, self._runner)
        with process_group.marked(self._mark):
            engine = AsyncLLM.from_vllm_config(
                self.config, stat_loggers=[stat_logger(self._progress)], disable_log_stats=True
            )
        quiet_loggers()
        return engine


async def _shut_down(engine: AsyncLLM) -> None:
    """Shut the engine down; its output handler ends first, else it reports a dead engine."""
    if engine.output_handler is not None:
        await _cancel(engine.output_handler)
    await asyncio.to_thread(engine.shutdown, CLOSE_S)


async def _cancel(task: asyncio.Future[Any]) -> None:
    if not task.done():
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def stat_logger(progress: EngineProgress) -> Any:
    """A factory of vLLM stat loggers that update ``progress``."""

    class ProgressLogger(StatLoggerBase):  # type: ignore[misc]
        """Records progress at the end of each step."""

        def __init__(self, vllm_config: Any, engine_index: int = 0) -> None:
            """Do nothing, because the logger has no state."""

        def record(self, scheduler_stats: Any, *_others: Any, **_more: Any) -> None:
            if scheduler_stats is None:
                progress.beat()
            else:
                progress.stepped(scheduler_stats.num_running_reqs, scheduler_stats.num_waiting_reqs)

        def log_engine_initialized(self) -> None:
            """Do nothing."""

    return ProgressLogger
