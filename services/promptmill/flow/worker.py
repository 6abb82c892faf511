"""Adding backpressure to a worker: a governor or, for the store, only its candidacy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import structlog

from promptmill.flow.board import Election, FlowKeys
from promptmill.flow.figures import KEEP_S, LEASE_S, Figures
from promptmill.flow.governor import LOOK_S, Governed, Governor
from promptmill.flow.marks import Marks
from promptmill.flow.metrics import FlowMetrics
from promptmill.flow.positions import Connect, LogPositions
from promptmill.flow.reports import WorkerReport
from promptmill.flow.settings import load_marks
from promptmill.flow.throttle import Output, Throttle
from promptmill.flow.view import UnknownLags
from promptmill.runtime.redis_client import connect
from promptmill.runtime.telemetry.metrics import StageMetrics
from promptmill.runtime.telemetry.registry import worker_id
from promptmill.stream.stage_settings import StageSettings
from promptmill_schemas.documents import FLOW

log = structlog.get_logger(__name__)

SINKS: Final = frozenset({"store", "gateway"})
"""Stages without a governor: a store writes to no topic, and a publisher waits by itself."""


def outputs_of(stage: str, marks: dict[str, Marks]) -> dict[str, Output]:
    """Return the topics that a stage writes to, with the number of governed writers of each."""
    governed = [sends for name, (_, sends) in FLOW.items() if name not in SINKS]
    return {
        topic.name: Output(marks[topic.name], sum(topic in sends for sends in governed))
        for topic in FLOW[stage][1]
    }


@asynccontextmanager
async def governed(
    settings: StageSettings, metrics: StageMetrics, loop: Governed, connect_log: Connect
) -> AsyncIterator[Governor]:
    """Hold the loop whenever a topic that it writes to has too large a lag.

    Args:
        connect_log: opens a reader of topics.

    Raises:
        Misconfigured: a water mark is invalid.
    """
    marks = load_marks()
    outputs = outputs_of(settings.stage, marks)
    topic = FLOW[settings.stage][0][0].name
    async with _figures(settings, [*outputs, topic], connect_log) as figures:
        governor = Governor(
            settings.stage,
            topic,
            settings.topic_prefix,
            loop,
            Throttle(outputs, trickle=settings.effective_slots),
            figures,
            metrics,
        )
        governor.metrics = FlowMetrics(
            metrics,
            {name: marks[name] for name in (*outputs, topic)},
            lambda: governor.age_s,
            figures.standing,
        )
        async with _running(governor.run()):
            yield governor


@asynccontextmanager
async def standing(settings: StageSettings, connect_log: Connect) -> AsyncIterator[Figures]:
    """Let a worker that is never held stand for election as the lag reader."""
    async with _figures(settings, [], connect_log) as figures, _running(_stand(settings, figures)):
        yield figures


async def _stand(settings: StageSettings, figures: Figures) -> None:
    while True:
        try:
            await figures.look(WorkerReport(settings.stage))
        except UnknownLags:
            pass
        except Exception:
            log.exception("candidate_failed", stage=settings.stage)
        await asyncio.sleep(LOOK_S)


@asynccontextmanager
async def _figures(
    settings: StageSettings, topics: list[str], connect_log: Connect
) -> AsyncIterator[Figures]:
    identity = worker_id(settings.stage)
    async with AsyncExitStack() as stack:
        positions = LogPositions(connect_log, settings.topic_prefix)
        stack.push_async_callback(positions.close)
        candidate = None
        if settings.redis:
            redis = connect(settings.redis)
            stack.push_async_callback(redis.aclose)
            keys = FlowKeys(settings.topic_prefix)
            candidate = Election(redis, keys, identity, lease_s=LEASE_S, keep_s=KEEP_S)
        figures = Figures(identity, candidate, positions, topics, time.monotonic)
        stack.push_async_callback(figures.close)
        yield figures


@asynccontextmanager
async def _running(helper: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(helper)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
