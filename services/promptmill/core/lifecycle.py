"""The life of a worker process: start, serve, drain, leave, with honest exit codes."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import structlog
import uvloop

from promptmill.core.errors import Fatal, Misconfigured, PromptmillError
from promptmill.core.stage_settings import StageSettings, StageSettingsT, parse_settings
from promptmill.core.stream.ports import Partition
from promptmill.core.telemetry.health import Health, HealthServer
from promptmill.core.telemetry.logs import set_up_logs
from promptmill.core.telemetry.metrics import StageMetrics
from promptmill.core.telemetry.registry import Registration, WorkerInfo, worker_id

log = structlog.get_logger(__name__)

SAME_WISH_S = 1.0


class Runner(Protocol):
    """The loop of a worker."""

    joined: asyncio.Event

    @property
    def in_flight(self) -> int:
        """Records at work."""

    @property
    def waiting(self) -> int:
        """Records delivered and not yet at work."""

    @property
    def assigned(self) -> Sequence[Partition]:
        """Partitions of this member."""

    def stop(self) -> None:
        """Begin to drain."""

    async def run(self) -> None:
        """Work until stopped."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A loop that is ready to run, and what people want to know of its model."""

    runner: Runner
    model: str = ""
    context_tokens: int = 0
    tokenizer: str = ""


Build: TypeAlias = Callable[[AsyncExitStack, StageMetrics], Awaitable[Worker]]


async def run_worker(settings: StageSettings, build: Build) -> None:
    """Build the worker, run it until SIGTERM or SIGINT, drain it, and take all of it down.

    Args:
        settings: of the stage.
        build: makes the worker; what it opens goes onto the stack it is given.

    Raises:
        Fatal: the worker could not start or go on.
    """
    stop = _stop_on_signals()
    metrics, health = StageMetrics(settings.stage, time.monotonic), Health()
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            HealthServer(health, metrics, settings.host, settings.port)
        )
        log.info("starting", health=server.url)
        worker = await _unless_stopped(build(stack, metrics), stop)
        if worker is None:
            return
        tune_garbage_collection()
        _watch(metrics, worker.runner)
        await _register(stack, settings, worker, metrics, health, server.url)
        await _serve(worker.runner, health, stop)


async def _serve(runner: Runner, health: Health, stop: asyncio.Event) -> None:
    async def ready_when_joined() -> None:
        await runner.joined.wait()
        health.set_ready()
        log.info("ready", partitions=len(runner.assigned))

    async def stop_when_told() -> None:
        await stop.wait()
        health.set_unready("draining")
        runner.stop()

    helpers = [asyncio.create_task(ready_when_joined()), asyncio.create_task(stop_when_told())]
    try:
        await runner.run()
    finally:
        health.set_unready("stopped")
        for helper in helpers:
            helper.cancel()


async def _unless_stopped(building: Awaitable[Worker], stop: asyncio.Event) -> Worker | None:
    """The worker, or ``None`` when the process is told to stop before it is built."""
    build, stopped = asyncio.ensure_future(building), asyncio.create_task(stop.wait())
    await asyncio.wait({build, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if build.done():
        return build.result()
    build.cancel()
    await asyncio.gather(build, return_exceptions=True)
    return None


def _watch(metrics: StageMetrics, runner: Runner) -> None:
    metrics.watch("in_flight", "records in a slot", lambda: runner.in_flight)
    metrics.watch("waiting", "records delivered, not yet in a slot", lambda: runner.waiting)
    metrics.watch("partitions", "partitions assigned", lambda: len(runner.assigned))


async def _register(
    stack: AsyncExitStack,
    settings: StageSettings,
    worker: Worker,
    metrics: StageMetrics,
    health: Health,
    url: str,
) -> None:
    identity = worker_id(settings.stage)

    def info() -> WorkerInfo:
        return WorkerInfo(
            stage=settings.stage,
            id=identity,
            in_flight=worker.runner.in_flight,
            done=metrics.done,
            rate=metrics.rate(),
            ready=health.ready,
            model=worker.model,
            context_tokens=worker.context_tokens,
            tokenizer=worker.tokenizer,
            url=url,
        )

    if settings.redis:
        registration = Registration(settings.redis, settings.topic_prefix, info(), info)
        await stack.enter_async_context(registration)


def _stop_on_signals() -> asyncio.Event:
    """An event that the first SIGTERM or SIGINT sets; a later one ends the process at once.

    ``timeout`` and some supervisors send a signal to the process and to its group: what comes
    within a second is the same wish.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    told_at = 0.0

    def on_signal(number: signal.Signals) -> None:
        nonlocal told_at
        if not stop.is_set():
            log.info("stopping", signal=number.name)
            told_at = time.monotonic()
            stop.set()
        elif time.monotonic() - told_at > SAME_WISH_S:
            log.warning("stopped_at_once", signal=number.name)
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    return stop


def tune_garbage_collection() -> None:
    """Collect seldom: what a loop makes is freed by reference counts.

    With 10,000 records in flight the default thresholds walk all of them again and again;
    measured, they take 40 % of the loop's throughput.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def run_main(
    cls: type[StageSettingsT],
    examples: str,
    serve: Callable[[StageSettingsT], Coroutine[Any, Any, None]],
) -> int:
    """The whole life of a service's process, from its arguments to its exit code."""
    try:
        settings = parse_settings(cls, sys.argv[1:], examples)
    except Misconfigured as error:
        sys.stderr.write(f"promptmill: {error}\n")
        return error.exit_code
    set_up_logs(settings.stage, settings.log_level)
    try:
        uvloop.run(serve(settings))
    except PromptmillError as error:
        log.error("ended", error=str(error), exc_info=error.__cause__)  # noqa: TRY400
        return error.exit_code if isinstance(error, Fatal) else 1
    return 0
