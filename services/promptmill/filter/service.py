"""The wiring of a filter worker; the only place where its parts meet."""

from __future__ import annotations

from contextlib import AsyncExitStack

from promptmill.core.gates.redis import RedisGate
from promptmill.core.lifecycle import Worker, run_worker
from promptmill.core.telemetry.metrics import StageMetrics
from promptmill.core.worker import make_loop
from promptmill.filter.published import Published
from promptmill.filter.recovery import RecoveringClaims
from promptmill.filter.settings import FilterSettings
from promptmill.filter.work import Filter
from promptmill_schemas.ids import digest
from promptmill_schemas.topics import SCORED


async def serve(settings: FilterSettings) -> None:
    """Run until told to stop."""

    async def build(stack: AsyncExitStack, metrics: StageMetrics) -> Worker:
        near = settings.policy.duplicate_similarity is not None
        gate = RedisGate(
            settings.require_redis(),
            settings.namespace or namespace_of(settings),
            expected_records=settings.expected_records,
            sketches=near,
            timeout_s=settings.redis_timeout_s,
            settle_s=settings.settle_s,
        )
        published = Published(
            settings.store_uri, settings.require_kafka(), settings.topic_prefix, sketched=near
        )
        claims = await stack.enter_async_context(RecoveringClaims(gate, published))
        metrics.watch(
            "claims_usable",
            "1 while claims can be decided; 0 while Redis is away or they are rebuilt",
            lambda: claims.usable,
        )
        work = Filter(settings.policy, claims)
        return Worker(make_loop(settings, SCORED, work, metrics))

    await run_worker(settings, build)


def namespace_of(settings: FilterSettings) -> str:
    """A namespace for each store: claims of one data set never judge another."""
    return f"{settings.topic_prefix}{digest('store', settings.store_uri)[:12]}"
