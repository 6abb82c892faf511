"""The wiring of a reward worker, the only place where its parts are connected."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial

from promptmill.flow.worker import governed
from promptmill.inference.engines import build_follower, build_grader, trouble_of, watch_engine
from promptmill.reward.settings import RewardSettings
from promptmill.reward.work import Reward
from promptmill.runtime.telemetry.metrics import StageMetrics
from promptmill.worker.lifecycle import Worker, run_worker
from promptmill.worker.wiring import make_log_reader, make_loop
from promptmill_schemas.topics import COMPLETIONS


async def serve(settings: RewardSettings) -> None:
    """Run the worker until it is told to stop."""

    async def build(stack: AsyncExitStack, metrics: StageMetrics) -> Worker:
        vllm = settings.vllm_options()
        if settings.follows:
            return Worker(build_follower(vllm, "pooling"), model=settings.model)
        engine = build_grader(
            settings.engine,
            settings.model,
            vllm=vllm,
            http=settings.http_options() if settings.engine == "openai" else None,
            grading=settings.grading(),
        )
        stack.push_async_callback(engine.close)
        await engine.start()
        watch_engine(metrics, engine)
        work = Reward(engine, settings.weights.as_scores(), settings.calibrated())
        loop = await make_loop(settings, COMPLETIONS, work, metrics, has_engine=True)
        connect_log = partial(make_log_reader, settings)
        governor = await stack.enter_async_context(governed(settings, metrics, loop, connect_log))
        return Worker(
            loop,
            model=engine.info.model,
            context_tokens=engine.context_tokens,
            held=lambda: governor.held,
            trouble=lambda: trouble_of(engine),
        )

    await run_worker(settings, build)
