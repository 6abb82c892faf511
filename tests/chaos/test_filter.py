"""Rows 21 to 24: filters that die between claim and publication, and a Redis that fails them."""

from __future__ import annotations

import asyncio

import pytest
import redis

from promptmill_schemas import Scored, encode
from support.chaos.pipeline import PipelineUnderTest
from support.chaos.prompts import prompts
from support.chaos.topic_log import SCORED
from support.scored import answer, scored
from support.waiting import eventually

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.chaos,
    pytest.mark.real,
    pytest.mark.timeout(240),
]

QUICK = "latency_s=0.02,tokens=20"


async def test_21_sigkill_filter_between_claim_and_publish(pipeline: PipelineUnderTest) -> None:
    """The claim belongs to the record: its replay is accepted, once, and not its own twin."""
    pipeline.start_dying_worker("filter", "filter.claimed=kill@0.03", instance_id="mortal")
    pipeline.start_workers("instruct", model=QUICK)
    await pipeline.ready()
    await pipeline.publish(prompts("row-21", 200), per_s=60)
    audit = await pipeline.audit_when_settled(within_s=150)
    assert pipeline.faults.kills >= 1
    assert audit.accepted > 0
    rejects = [row for row in pipeline.tables().of("rejects") if row.prompt_id in pipeline.own]
    assert {row.reason for row in rejects} == {"below_limit"}


async def test_22_identical_twins_at_two_filters_at_once(pipeline: PipelineUnderTest) -> None:
    """Of two prompts with the same content in two partitions, one is accepted."""
    pipeline.start_workers("filter")
    await pipeline.ready()
    pairs = 60
    await put_scored(pipeline, [twin(number, run) for number in range(pairs) for run in "ab"])
    audit = await pipeline.audit_when_settled()
    assert (audit.accepted, audit.rejected) == (pairs, pairs)


async def test_23_redis_emptied(pipeline: PipelineUnderTest) -> None:
    """The filters pause and rebuild their claims; what was accepted before has no twin after."""
    pipeline.start_workers("instruct", model=QUICK)
    await pipeline.ready()
    pairs = range(1_000, 1_040)
    early = {twin(number, "a").completion.prompt.prompt_id for number in pairs}
    late = {twin(number, "b").completion.prompt.prompt_id for number in pairs}
    (judge,) = pipeline.of("filter")
    rebuilt = len(judge.events("claims_rebuilt"))
    async with pipeline.flow("row-23", per_s=40):
        await put_scored(pipeline, [twin(number, "a") for number in pairs])
        await eventually(
            lambda: early <= pipeline.log.settled, because="the early ones are decided"
        )
        with redis.Redis.from_url(pipeline.backend.redis) as client:
            client.flushall()
        await put_scored(pipeline, [twin(number, "b") for number in pairs])
        await pipeline.advance("filter", len(pairs))
    await pipeline.audit_when_settled()
    assert len(judge.events("claims_rebuilt")) == rebuilt + 1
    assert judge.lives == 1
    accepted = {row.prompt_id for row in pipeline.tables().of("records")}
    assert early <= accepted
    assert not late & accepted


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_24_redis_away(pipeline: PipelineUnderTest, how: str) -> None:
    """Nothing is decided meanwhile, nobody crashes, and it goes on when Redis is back."""
    server = pipeline.backend.servers.redis
    pipeline.start_workers("instruct", model=QUICK)
    await pipeline.ready()
    async with pipeline.flow(f"row-24-{how}", per_s=30):
        await pipeline.advance("filter", 20)
        await asyncio.to_thread(server.kill if how == "killed" else server.pause)
        try:
            await asyncio.sleep(4)
        finally:
            await asyncio.to_thread(server.start if how == "killed" else server.resume)
            await asyncio.to_thread(server.wait_ready)
        await pipeline.advance("filter", 20)
    await pipeline.audit_when_settled()
    assert [worker.lives for worker in pipeline.workers] == [1] * len(pipeline.workers)


def twin(number: int, run: str) -> Scored:
    """The same question and answer for every run, under another prompt id."""
    text = f"There are {number} grains, which the mill counts one by one."
    return scored(answer(text), ask=f"How many grains, of {number}?", run=run)


async def put_scored(pipeline: PipelineUnderTest, messages: list[Scored]) -> None:
    """As if the reward workers had published them."""
    keyed = [(message.completion.prompt.prompt_id, encode(message)) for message in messages]
    await pipeline.put(SCORED, *keyed)
    for prompt_id, _ in keyed:
        pipeline.admit(prompt_id)
