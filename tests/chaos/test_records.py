"""Rows 11, 12, 16 and 20: records and commits that are wrong, doubled or cannot be worked on."""

from __future__ import annotations

import asyncio
from itertools import cycle
from math import isfinite

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata
from deltalake import DeltaTable

from support.chaos.backend import committed
from support.chaos.pipeline import PipelineUnderTest
from support.chaos.prompts import prompts
from support.chaos.topic_log import COMPLETIONS, PROMPTS, RECORDS, REJECTS, SCORED
from support.chaos.worker import ONCE

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.chaos,
    pytest.mark.real,
    pytest.mark.timeout(240),
]

DAMAGED = ("", "pm1.00000000.garbage", "another program's notes", "x" * 4_096)
LONG_TAIL = "latency_s=0.1,sigma=1.5,tokens=20"


async def test_11_maps_beside_commits_are_missing_or_corrupt(pipeline: PipelineUnderTest) -> None:
    """They are ignored: more is done again, nothing is left out."""
    (worker,) = pipeline.start_workers(
        "instruct", terms=ONCE, model=LONG_TAIL, commit_interval_s=0.1, grace_s=0
    )
    await pipeline.ready()
    await pipeline.publish(prompts("row-11", 200))
    await pipeline.advance("instruct", 80)
    assert await worker.stop() == 0
    await damage_maps(pipeline)
    pipeline.start_workers("instruct", model=LONG_TAIL)
    audit = await pipeline.audit_when_settled()
    assert audit.redone[COMPLETIONS] > 0


async def damage_maps(pipeline: PipelineUnderTest) -> None:
    """Commit the group's own offsets again, with other metadata; nobody is in the group."""
    group = f"{pipeline.prefix}promptmill.instruct"
    offsets = await committed(pipeline.backend, group)
    changed = {
        TopicPartition(*at): OffsetAndMetadata(found.offset, metadata)
        for (at, found), metadata in zip(offsets.items(), cycle(DAMAGED), strict=False)
    }
    async with AIOKafkaConsumer(
        bootstrap_servers=pipeline.backend.kafka, group_id=group
    ) as consumer:
        consumer.assign(list(changed))
        await consumer.commit(changed)


async def test_12_poison_at_each_stage(pipeline: PipelineUnderTest) -> None:
    """Dead-lettered by the stage that meets it; the partitions go on."""
    topics = (PROMPTS, COMPLETIONS, SCORED, RECORDS, REJECTS)
    before = set(pipeline.tables().of("dead_letters"))
    pipeline.start_workers("instruct", model="latency_s=0.02")
    await pipeline.ready()
    for topic in topics:
        junk = [(f"{topic}-{number}", b'{"prompt_id": 1') for number in range(8)]
        await pipeline.put(topic, *junk)
    await pipeline.publish(prompts("row-12", 100))
    audit = await pipeline.audit_when_settled()
    assert audit.dead == 0
    junk_rows = set(pipeline.tables().of("dead_letters")) - before
    assert {row.reason for row in junk_rows} == {"contract_error"}
    assert len(junk_rows) == 8 * len(topics)


async def test_12_failures_that_never_end_are_buried_after_k_attempts(
    pipeline: PipelineUnderTest,
) -> None:
    pipeline.start_workers("instruct", model="latency_s=0.02,transient=0.4", attempts=2)
    await pipeline.ready()
    await pipeline.publish(prompts("row-12-attempts", 150))
    audit = await pipeline.audit_when_settled()
    assert audit.dead > 0
    assert audit.reasons == {"transient": audit.dead}


async def test_16_an_ack_lost_after_the_append(pipeline: PipelineUnderTest) -> None:
    """What reward and filter publish once more is absorbed behind them."""
    for stage in ("reward", "filter"):
        pipeline.start_dying_worker(stage, "publish.acknowledged=kill@0.03")
    pipeline.start_workers("instruct", model="latency_s=0.02")
    await pipeline.ready()
    await pipeline.publish(prompts("row-16", 200), per_s=60)
    audit = await pipeline.audit_when_settled(within_s=150)
    assert pipeline.faults.kills >= 2
    assert audit.absorbed > 0


async def test_20_scores_that_are_no_numbers_and_a_reward_worker_that_crashes(
    pipeline: PipelineUnderTest,
) -> None:
    script = "latency_s=0.02,nan=0.5,transient=0.1"
    pipeline.start_dying_worker("reward", "publish.begin=kill@0.02", model=script)
    pipeline.start_workers("instruct", model="latency_s=0.02")
    await pipeline.ready()
    await pipeline.publish(prompts("row-20", 200), per_s=60)
    audit = await pipeline.audit_when_settled(within_s=150)
    assert audit.dead == 0
    scores = await asyncio.to_thread(accepted_scores, pipeline)
    assert len(scores) > 0
    assert all(map(isfinite, scores))


def accepted_scores(pipeline: PipelineUnderTest) -> list[float]:
    """Every score and reward in the table of records."""
    table = DeltaTable(str(pipeline.store / "records")).to_pyarrow_dataset().to_table()
    return [
        value
        for row in table.select(["scores", "reward"]).to_pylist()
        for value in (*row["scores"].values(), row["reward"])
    ]
