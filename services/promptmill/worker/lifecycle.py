"""The lifecycle of a worker process: start, run, drain, and exit with a meaningful code."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeAlias

import structlog
import uvloop

from promptmill.kafka.security import shows_password, use_stage
from promptmill.runtime.errors import Fatal, Misconfigured, PromptmillError, Unavailable
from promptmill.runtime.memory import tune_garbage_collection
from promptmill.runtime.redis_client import check_server, refuse_password_flags
from promptmill.runtime.telemetry.health import Health, HealthServer
from promptmill.runtime.telemetry.logs import set_up_logs
from promptmill.runtime.telemetry.metrics import StageMetrics
from promptmill.runtime.telemetry.registry import Registration, WorkerInfo, worker_id
from promptmill.runtime.terminal import printable
from promptmill.runtime.timing import Deadline
from promptmill.stream.ports import Partition
from promptmill.stream.stage_settings import StageSettings, StageSettingsT, parse_settings
from promptmill_schemas import SCHEMA_VERSION

log = structlog.get_logger(__name__)

SAME_SIGNAL_S = 1.0
EXIT_LIMIT_S = 5.0
"""Seconds after the last step of a shutdown in which the process exits, despite hung threads."""

UNREADY_AFTER_S = 10.0
"""Seconds of failed polls after which a worker is not ready."""


class Runner(Protocol):
    """The loop of a worker."""

    joined: asyncio.Event

    @property
    def in_flight(self) -> int:
        """The number of records in flight."""

    @property
    def waiting(self) -> int:
        """The number of records in the backlog."""

    @property
    def assigned(self) -> Sequence[Partition]:
        """The partitions of this member."""

    def stop(self, deadline: Deadline | None = None) -> None:
        """Begin to drain by this deadline; ``None`` uses the grace period of the settings."""

    async def run(self) -> None:
        """Process records until stopped."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A loop that is ready to run, with what the registry shows about it.

    Attributes:
        runner: the loop.
        model: the name of its model; empty if it has none.
        context_tokens: the context length of the model in tokens.
        tokenizer: the folder of the tokenizer.
        held: returns the reason why backpressure holds the worker; empty if it does not.
        trouble: returns the reason why the worker cannot complete any record; empty if it can.
    """

    runner: Runner
    model: str = ""
    context_tokens: int = 0
    tokenizer: str = ""
    held: Callable[[], str] = lambda: ""
    trouble: Callable[[], str] = lambda: ""


Build: TypeAlias = Callable[[AsyncExitStack, StageMetrics], Awaitable[Worker]]


async def run_worker(settings: StageSettings, build: Build) -> None:
    """Build a worker, run it until SIGTERM or SIGINT, drain it, and close its resources.

    Args:
        settings: the settings of the stage.
        build: creates the worker and pushes its resources to the given exit stack.

    Raises:
        Fatal: the worker could not start or continue.
    """
    stop = _stop_on_signals(settings.grace_s)
    metrics = StageMetrics(settings.stage, time.monotonic)
    health = Health(lambda: _poll_trouble(metrics))
    async with _Shutdown(stop, settings.grace_s) as shutdown:
        server = HealthServer(health, metrics, settings.host, settings.port)
        await shutdown.enter("health", server)
        log.info("starting", health=server.url)
        await _check_redis(settings)
        resources = AsyncExitStack()
        shutdown.push("resources", resources.aclose)
        worker = await _unless_stopped(build(resources, metrics), stop)
        if worker is None:
            return
        health.watch(worker.trouble)
        tune_garbage_collection()
        _watch(metrics, worker.runner)
        if settings.redis:
            entry = registration(settings, worker, metrics, health, server.url)
            await shutdown.enter("registry", entry)
        await _serve(worker.runner, health, stop)


async def _check_redis(settings: StageSettings) -> None:
    """Refuse a Redis that can never work; the worker waits later for one that does not answer."""
    if settings.redis:
        with suppress(Unavailable):
            await check_server(settings.redis)


class _Shutdown:
    """An exit stack whose steps share one deadline, which begins with the signal.

    If a worker ends without a signal, the deadline begins at that time.
    """

    def __init__(self, stop: asyncio.Future[Deadline], grace_s: float) -> None:
        self._stop = stop
        self._grace_s = grace_s
        self._stack = AsyncExitStack()
        self._deadline: Deadline | None = None
        self._errors: list[Exception] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._deadline = self._stop.result() if self._stop.done() else Deadline(self._grace_s)
        await self._stack.aclose()
        if error is None and self._errors:
            raise self._errors[0]

    async def enter(self, step: str, context: AbstractAsyncContextManager[object]) -> None:
        """Enter a context and exit it during the shutdown."""
        await context.__aenter__()
        self.push(step, lambda: context.__aexit__(None, None, None))

    def push(self, step: str, action: Callable[[], Awaitable[object]]) -> None:
        """Run this action during the shutdown, before those that were pushed earlier."""
        self._stack.push_async_callback(self._close, step, action)

    async def _close(self, step: str, action: Callable[[], Awaitable[object]]) -> None:
        deadline = self._deadline or Deadline(self._grace_s)
        await deadline.close(step, action, self._errors.append)


def _poll_trouble(metrics: StageMetrics) -> str:
    """Return why failed polls make the worker unready, or an empty string if they do not."""
    lasted = metrics.polls_fail_for_s
    return f"polls of Kafka have failed for {lasted:.0f} s" if lasted > UNREADY_AFTER_S else ""


async def _serve(runner: Runner, health: Health, stop: asyncio.Future[Deadline]) -> None:
    async def ready_when_joined() -> None:
        await runner.joined.wait()
        health.set_ready()
        log.info("ready", partitions=len(runner.assigned))

    async def stop_when_told() -> None:
        deadline = await asyncio.shield(stop)
        health.set_unready("draining")
        runner.stop(deadline)

    helpers = [asyncio.create_task(ready_when_joined()), asyncio.create_task(stop_when_told())]
    try:
        await runner.run()
    finally:
        health.set_unready("stopped")
        for helper in helpers:
            helper.cancel()


async def _unless_stopped(
    building: Awaitable[Worker], stop: asyncio.Future[Deadline]
) -> Worker | None:
    """Return the worker, or ``None`` if the process is stopped before the worker is built."""
    build = asyncio.ensure_future(building)
    waiting: set[asyncio.Future[Any]] = {build, stop}
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    if build.done():
        return build.result()
    build.cancel()
    await stop.result().run("build", asyncio.gather(build, return_exceptions=True))
    return None


def _watch(metrics: StageMetrics, runner: Runner) -> None:
    metrics.watch("in_flight", "records being processed", lambda: runner.in_flight)
    metrics.watch(
        "waiting", "records delivered and not yet being processed", lambda: runner.waiting
    )
    metrics.watch("partitions", "partitions assigned to this worker", lambda: len(runner.assigned))


def registration(
    settings: StageSettings, worker: Worker, metrics: StageMetrics, health: Health, url: str
) -> Registration:
    """Return the worker's entry in the registry, which is refreshed while the context is open."""
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
            schema_version=SCHEMA_VERSION,
            held=worker.held(),
            trouble=health.trouble,
            partitions=len(worker.runner.assigned),
        )

    return Registration(settings.redis, settings.topic_prefix, info(), info)


def _stop_on_signals(grace_s: float) -> asyncio.Future[Deadline]:
    """Set the returned deadline at the first SIGTERM or SIGINT; a later one kills the process.

    ``timeout`` and some supervisors signal both the process and its group, so signals within one
    second count as one.
    """
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[Deadline] = loop.create_future()
    first_at = 0.0

    def on_signal(number: signal.Signals) -> None:
        nonlocal first_at
        if not stop.done():
            log.info("stopping", signal=number.name, grace_s=grace_s)
            first_at = time.monotonic()
            stop.set_result(Deadline(grace_s))
        elif time.monotonic() - first_at > SAME_SIGNAL_S:
            log.warning("stopped_immediately", signal=number.name)
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    return stop


def run_main(
    cls: type[StageSettingsT],
    examples: str,
    serve: Callable[[StageSettingsT], Coroutine[Any, Any, None]],
) -> int:
    """Run the process of a service, from its arguments to its exit code.

    Args:
        cls: the settings class of the stage.
        examples: text at the end of ``--help``.
        serve: runs the service with its settings.
    """
    try:
        refuse_password_flags(sys.argv[1:])
        settings = parse_settings(cls, sys.argv[1:], examples)
        use_stage(settings.stage)
    except Misconfigured as error:
        sys.stderr.write(f"promptmill: {printable(str(error), lines=True)}\n")
        return error.exit_code
    set_up_logs(settings.stage, settings.log_level)
    faulthandler.enable()  # a library that aborts the process leaves at least a stack trace
    if shows_password(settings.kafka):
        log.warning("kafka_password_sent_unencrypted", kafka=settings.kafka)
    return uvloop.run(_exit_code_of(serve(settings)))


async def _exit_code_of(serving: Coroutine[Any, Any, None]) -> int:
    try:
        await serving
    except PromptmillError as error:
        log.error("ended", error=str(error), exc_info=error.__cause__)  # noqa: TRY400
        code = error.exit_code if isinstance(error, Fatal) else 1
    except Exception:
        log.exception("ended")
        code = 1
    else:
        code = 0
    _end_within(EXIT_LIMIT_S, code)
    return code


def _end_within(seconds: float, code: int) -> None:
    """End the process even if a task ignores its cancellation or a thread never returns.

    A thread that hangs in a system call, for example on network storage, cannot be cancelled, and
    both asyncio and the interpreter would wait for it.
    """

    def end() -> None:
        log.warning("threads_abandoned", after_s=seconds)
        os._exit(code)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
