"""The wiring of an instruct worker, the only place where its parts are connected."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

from promptmill.flow.worker import governed
from promptmill.inference.engines import build_follower, build_generator, trouble_of, watch_engine
from promptmill.inference.reasoning import read_tags
from promptmill.instruct.settings import InstructSettings
from promptmill.instruct.work import Instruct
from promptmill.runtime.telemetry.metrics import StageMetrics
from promptmill.worker.lifecycle import Worker, run_worker
from promptmill.worker.settled import SettledPrompts
from promptmill.worker.wiring import make_log_reader, make_loop
from promptmill_schemas.topics import PROMPTS


async def serve(settings: InstructSettings) -> None:
    """Run the worker until a signal stops it."""
    tags = read_tags(settings.reasoning_tags)

    async def build(stack: AsyncExitStack, metrics: StageMetrics) -> Worker:
        vllm = replace(
            settings.vllm_options(settings.loaded_adapters()),
            tool_call_parser=settings.tool_call_parser,
            reasoning_tags=tags,
        )
        if settings.follows:
            return Worker(build_follower(vllm, "generate"), model=settings.model)
        engine = build_generator(
            settings.engine,
            settings.model,
            vllm=vllm,
            http=settings.http_options() if settings.engine == "openai" else None,
            api=settings.api,
        )
        stack.push_async_callback(engine.close)
        await engine.start()
        watch_engine(metrics, engine)
        settled = SettledPrompts(settings, metrics)
        work = Instruct(engine, metrics, settled, tags=tags)
        loop = await make_loop(settings, PROMPTS, work, metrics, has_engine=True)
        settled.follow(loop)
        connect_log = partial(make_log_reader, settings)
        governor = await stack.enter_async_context(governed(settings, metrics, loop, connect_log))
        return Worker(
            loop,
            model=engine.info.model,
            context_tokens=engine.context_tokens,
            tokenizer=engine.tokenizer,
            held=lambda: governor.held,
            trouble=lambda: trouble_of(engine),
        )

    await run_worker(settings, build)
