"""The wiring of a filter worker; the only place where its parts meet."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial

from promptmill.dedup.near import SketchForm
from promptmill.dedup.redis import RedisDedupStore
from promptmill.filter.data_set import DataSet
from promptmill.filter.published import PublishedDecisions
from promptmill.filter.recovery import RecoveringClaims
from promptmill.filter.settings import FilterSettings
from promptmill.filter.work import Filter
from promptmill.flow.worker import governed
from promptmill.runtime.memory import limit_fragmentation
from promptmill.runtime.telemetry.metrics import StageMetrics
from promptmill.worker.lifecycle import Worker, run_worker
from promptmill.worker.wiring import make_log_reader, make_loop
from promptmill_schemas.topics import SCORED


async def serve(settings: FilterSettings) -> None:
    """Run until told to stop."""
    limit_fragmentation()

    async def build(stack: AsyncExitStack, metrics: StageMetrics) -> Worker:
        data_set = DataSet(settings.store_uri, settings.topic_prefix)
        own_namespace = await data_set.wait()
        near = settings.policy.duplicate_similarity is not None
        form: SketchForm = "folded" if settings.duplicate_folding else "exact"
        dedup_store = RedisDedupStore(
            settings.require_redis(),
            settings.namespace or own_namespace,
            expected_records=settings.expected_records,
            sketches=form if near else None,
            timeout_s=settings.redis_timeout_s,
            settle_s=settings.settle_s,
        )
        published = PublishedDecisions(
            data_set,
            settings.require_kafka(),
            settings.topic_prefix,
            sketched=near,
            folding=settings.duplicate_folding,
        )
        claims = await stack.enter_async_context(
            RecoveringClaims(dedup_store, published, count=published.count)
        )
        metrics.watch(
            "claims_usable",
            "1 while the filter can decide; 0 while Redis is unavailable or the claims are "
            "being rebuilt",
            lambda: claims.usable,
        )
        metrics.watch(
            "claims_per_bucket",
            "decisions in one Redis hash; above 256 the claims are rebuilt into more hashes",
            lambda: dedup_store.per_bucket,
        )
        work = Filter(settings.policy, claims)
        loop = await make_loop(settings, SCORED, work, metrics)
        connect_log = partial(make_log_reader, settings)
        governor = await stack.enter_async_context(governed(settings, metrics, loop, connect_log))
        return Worker(loop, held=lambda: governor.held)

    await run_worker(settings, build)
