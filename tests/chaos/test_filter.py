"""Rows 21 to 24: filters that die between claim and publication, and a Redis that fails them."""

from __future__ import annotations

import asyncio

import pytest
import redis

from promptmill_schemas import Scored, encode
from support.chaos.plant import Plant
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


async def test_21_sigkill_filter_between_claim_and_publish(plant: Plant) -> None:
    """The claim belongs to the record: its replay is accepted, once, and not its own twin."""
    plant.hire_mortal("filter", "filter.claimed=kill@0.03", instance_id="mortal")
    plant.hire("instruct", model=QUICK)
    await plant.ready()
    await plant.publish(prompts("row-21", 200), per_s=60)
    audit = await plant.books(within_s=150)
    assert plant.faults.kills >= 1
    assert audit.accepted > 0
    rejects = [row for row in plant.tables().of("rejects") if row.prompt_id in plant.own]
    assert {row.reason for row in rejects} == {"below_limit"}


async def test_22_identical_twins_at_two_filters_at_once(plant: Plant) -> None:
    """Of two prompts with the same content in two partitions, one is accepted."""
    plant.hire("filter")
    await plant.ready()
    pairs = 60
    await put_scored(plant, [twin(number, run) for number in range(pairs) for run in "ab"])
    audit = await plant.books()
    assert (audit.accepted, audit.rejected) == (pairs, pairs)


async def test_23_redis_emptied(plant: Plant) -> None:
    """The filters pause and rebuild their claims; what was accepted before has no twin after."""
    plant.hire("instruct", model=QUICK)
    await plant.ready()
    pairs = range(1_000, 1_040)
    early = {twin(number, "a").completion.prompt.prompt_id for number in pairs}
    late = {twin(number, "b").completion.prompt.prompt_id for number in pairs}
    (judge,) = plant.of("filter")
    rebuilt = len(judge.events("claims_rebuilt"))
    async with plant.flow("row-23", per_s=40):
        await put_scored(plant, [twin(number, "a") for number in pairs])
        await eventually(lambda: early <= plant.log.settled, because="the early ones are decided")
        with redis.Redis.from_url(plant.site.redis) as client:
            client.flushall()
        await put_scored(plant, [twin(number, "b") for number in pairs])
        await plant.advance("filter", len(pairs))
    await plant.books()
    assert len(judge.events("claims_rebuilt")) == rebuilt + 1
    assert judge.lives == 1
    accepted = {row.prompt_id for row in plant.tables().of("records")}
    assert early <= accepted
    assert not late & accepted


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_24_redis_away(plant: Plant, how: str) -> None:
    """Nothing is decided meanwhile, nobody crashes, and it goes on when Redis is back."""
    server = plant.site.servers.redis
    plant.hire("instruct", model=QUICK)
    await plant.ready()
    async with plant.flow(f"row-24-{how}", per_s=30):
        await plant.advance("filter", 20)
        await asyncio.to_thread(server.kill if how == "killed" else server.pause)
        try:
            await asyncio.sleep(4)
        finally:
            await asyncio.to_thread(server.start if how == "killed" else server.resume)
            await asyncio.to_thread(server.wait_ready)
        await plant.advance("filter", 20)
    await plant.books()
    assert [worker.lives for worker in plant.workers] == [1] * len(plant.workers)


def twin(number: int, run: str) -> Scored:
    """The same question and answer for every run, under another prompt id."""
    text = f"There are {number} grains, which the mill counts one by one."
    return scored(answer(text), ask=f"How many grains, of {number}?", run=run)


async def put_scored(plant: Plant, messages: list[Scored]) -> None:
    """As if the reward workers had published them."""
    keyed = [(message.completion.prompt.prompt_id, encode(message)) for message in messages]
    await plant.put(SCORED, *keyed)
    for prompt_id, _ in keyed:
        plant.admit(prompt_id)
