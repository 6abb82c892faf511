"""The wiring of a reward worker, the only place where its parts are connected."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial

from promptmill.flow.worker import governed
from promptmill.inference.engines import (
    build_comparer,
    build_follower,
    build_grader,
    trouble_of,
    watch_engine,
)
from promptmill.reward.pairwise import Pairwise
from promptmill.reward.panel import Graders, Panel
from promptmill.reward.pointwise import Pointwise
from promptmill.reward.settings import RewardSettings
from promptmill.reward.work import Reward
from promptmill.runtime.telemetry.metrics import StageMetrics
from promptmill.worker.lifecycle import Worker, run_worker
from promptmill.worker.wiring import make_log_reader, make_loop
from promptmill_schemas.topics import COMPLETIONS


async def serve(settings: RewardSettings) -> None:
    """Run the worker until a signal stops it."""

    async def build(stack: AsyncExitStack, metrics: StageMetrics) -> Worker:
        if settings.follows:
            follower = build_follower(settings.vllm_options(), "pooling")
            return Worker(follower, model=settings.model)
        panel = build_panel(settings)
        graders = Graders(panel.engines)
        stack.push_async_callback(graders.close)
        await graders.start()
        watch_engine(metrics, graders)
        work = Reward(panel, settings.weights.as_scores())
        loop = await make_loop(settings, COMPLETIONS, work, metrics, has_engine=True)
        connect_log = partial(make_log_reader, settings)
        governor = await stack.enter_async_context(governed(settings, metrics, loop, connect_log))
        return Worker(
            loop,
            model=graders.info.model,
            context_tokens=graders.context_tokens,
            held=lambda: governor.held,
            trouble=lambda: trouble_of(graders),
        )

    await run_worker(settings, build)


def build_panel(settings: RewardSettings) -> Panel:
    """Create the graders that the settings describe; the caller has to start them.

    Raises:
        Misconfigured: the settings contradict each other.
    """
    grading, servers = settings.grading(), settings.servers()
    if grading.compares:
        comparers = [build_comparer(settings.engine, at, grading) for at in servers]
        return Pairwise(comparers, settings.calibrated(), settings.pairs)
    vllm = settings.vllm_options()
    graders = [
        build_grader(settings.engine, settings.model, vllm=vllm, http=at, grading=grading)
        for at in servers
    ]
    return Pointwise(graders, settings.calibrated())
