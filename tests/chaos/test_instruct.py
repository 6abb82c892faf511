"""Rows 1 to 6, 10 and 18: instruct workers that end, freeze, come and go in mid-generation."""

from __future__ import annotations

import signal
import zlib
from base64 import b85decode
from collections.abc import Iterable
from random import Random
from typing import NamedTuple

import pytest

from support.chaos.backend import committed
from support.chaos.pipeline import SESSION_S, PipelineUnderTest
from support.chaos.prompts import prompts
from support.chaos.topic_log import COMPLETIONS, PROMPTS, SCORED, Seen
from support.chaos.worker import Life, Terms, Worker
from support.waiting import eventually

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.chaos,
    pytest.mark.real,
    pytest.mark.timeout(240),
]

RECORDS = 400
SLOTS = 32
ACKNOWLEDGED = "publish.acknowledged"
COMMIT_S = 0.1
LONG_TAIL = "latency_s=0.2,sigma=1.5,tokens=20"


class Repetition(NamedTuple):
    """A prompt whose message stands on a topic more than once.

    Attributes:
        first_s, again_s: when each was appended, seconds since the epoch.
    """

    prompt_id: str | None
    first_s: float
    again_s: float


def repetitions(messages: Iterable[Seen], topic: str) -> list[Repetition]:
    """Every message beyond the first of its prompt."""
    first: dict[str | None, float] = {}
    found = []
    for message in messages:
        if message.topic != topic:
            continue
        at = message.at_ms / 1000
        if message.prompt_id in first:
            found.append(Repetition(message.prompt_id, first[message.prompt_id], at))
        else:
            first[message.prompt_id] = at
    return found


async def test_01_sigkill_instruct_during_generation(pipeline: PipelineUnderTest) -> None:
    """What the last commit marks as done is not generated again."""
    workers = pipeline.start_workers(
        "instruct", 2, model=LONG_TAIL, slots=SLOTS, commit_interval_s=COMMIT_S
    )
    await pipeline.ready()
    await pipeline.publish(prompts("row-01", RECORDS))
    marked: set[str | None] = set()
    for worker in workers:
        await pipeline.advance("instruct", 60)
        marked |= await eventually(lambda: marked_as_done(pipeline), because="a map is committed")
        worker.kill()
    audit = await pipeline.audit_when_settled()
    again = {each.prompt_id for each in repetitions(pipeline.messages, COMPLETIONS)}
    assert marked
    assert not again & marked
    assert audit.redone[COMPLETIONS] <= len(workers) * SLOTS


async def marked_as_done(pipeline: PipelineUnderTest) -> set[str | None]:
    """Prompts that lie beyond the committed offsets and are done by the maps beside them."""
    offsets = await committed(pipeline.backend, f"{pipeline.prefix}promptmill.instruct")
    done = {
        (partition, offset)
        for (_, partition), at in offsets.items()
        for offset in offsets_in_map(at.offset, at.metadata or "")
    }
    return {
        message.prompt_id
        for message in pipeline.messages
        if message.topic == PROMPTS and (message.partition, message.offset) in done
    }


def offsets_in_map(base: int, metadata: str) -> list[int]:
    """What the metadata of a commit says, read without the code under test."""
    payload = metadata.rpartition(".")[2]
    bitmap = zlib.decompress(b85decode(payload)) if payload else b""
    return [base + i for i in range(8 * len(bitmap)) if bitmap[i // 8] >> i % 8 & 1]


async def test_02_sigkill_after_the_ack_and_before_the_commit(pipeline: PipelineUnderTest) -> None:
    """The second generation is another text under the same id; the filter drops and counts it."""
    pipeline.start_workers(
        "instruct",
        2,
        Terms(Life(f"{ACKNOWLEDGED}=kill#40"), lambda: Life(f"{ACKNOWLEDGED}=kill@0.02")),
        model="latency_s=0.05,sigma=1.0,tokens=20,fresh=1",
        commit_interval_s=2,
    )
    await pipeline.ready()
    await pipeline.publish(prompts("row-02", 150))
    audit = await pipeline.audit_when_settled(within_s=150)
    assert pipeline.faults.kills >= 1
    assert audit.redone[COMPLETIONS] >= pipeline.faults.kills
    (judge,) = pipeline.of("filter")
    counted = (await judge.metrics())[
        'promptmill_settled_total{outcome="drop",reason="variant",stage="filter"}'
    ]
    assert counted == len(repetitions(pipeline.messages, SCORED))


async def test_03_sigterm_lets_long_generations_end(pipeline: PipelineUnderTest) -> None:
    worker, _ = pipeline.start_workers("instruct", 2, model="latency_s=1.5,sigma=0.3", grace_s=15)
    await pipeline.ready()
    await pipeline.publish(prompts("row-03", 200))
    await pipeline.advance("instruct", 10)
    assert await worker.restart() == 0
    (drained,) = worker.events("drained")
    assert drained["left"] == 0
    audit = await pipeline.audit_when_settled()
    assert audit.redone[COMPLETIONS] == 0


async def test_04_sigterm_with_too_short_a_grace(pipeline: PipelineUnderTest) -> None:
    worker, _ = pipeline.start_workers(
        "instruct", 2, model="latency_s=1.5,sigma=0.3", slots=SLOTS, grace_s=0.2
    )
    await pipeline.ready()
    await pipeline.publish(prompts("row-04", 200))
    await eventually(lambda: is_busy(worker), because="it has prompts in flight")
    assert await worker.restart() == 0
    (drained,) = worker.events("drained")
    assert drained["left"] in range(1, SLOTS + 1)
    audit = await pipeline.audit_when_settled()
    assert audit.redone[COMPLETIONS] == 0


async def is_busy(worker: Worker) -> bool:
    """Whether at least half of its slots are taken."""
    in_flight = (await worker.metrics())['promptmill_in_flight{stage="instruct"}']
    return in_flight >= SLOTS / 2


async def test_05_frozen_longer_than_the_session(pipeline: PipelineUnderTest) -> None:
    """The others take over; the commit of the one that wakes up is harmless."""
    worker, _ = pipeline.start_workers("instruct", 2, slots=SLOTS)
    await pipeline.ready()
    async with pipeline.flow("row-05", per_s=40):
        await pipeline.advance("instruct", 40)
        await worker.freeze(SESSION_S + 3)
        await pipeline.advance("instruct", 40)
    audit = await pipeline.audit_when_settled()
    assert audit.redone[COMPLETIONS] <= 2 * SLOTS


async def test_06_members_join_and_leave_all_the_time(pipeline: PipelineUnderTest) -> None:
    pipeline.start_workers("instruct", slots=SLOTS)
    await pipeline.ready()
    draw = Random(6)
    async with pipeline.flow("row-06", per_s=25):
        for _ in range(4):
            (extra_worker,) = pipeline.start_workers("instruct", slots=SLOTS, grace_s=3)
            await extra_worker.ready()
            await pipeline.advance("instruct", 10, within_s=SESSION_S + 24)
            await extra_worker.stop(draw.choice([signal.SIGTERM, signal.SIGKILL]))
            await pipeline.advance("instruct", 10, within_s=SESSION_S + 24)
    audit = await pipeline.audit_when_settled()
    assert audit.redone[COMPLETIONS] <= len(pipeline.of("instruct")) * SLOTS


async def test_10_records_that_hang_are_buried_at_their_deadline(
    pipeline: PipelineUnderTest,
) -> None:
    pipeline.start_workers("instruct", model="latency_s=0.05,hang=0.02", deadline_s=4, slots=16)
    await pipeline.ready()
    await pipeline.publish(prompts("row-10", 200))
    audit = await pipeline.audit_when_settled()
    assert audit.dead > 0
    assert audit.reasons == {"deadline": audit.dead}


async def test_18_a_dead_engine_ends_the_process(pipeline: PipelineUnderTest) -> None:
    """All that was in flight is delivered again; with another engine it succeeds."""
    other_engine = Life(environment={"PROMPTMILL_INSTRUCT_MODEL": "latency_s=0.05"})
    terms = Terms(following=lambda: other_engine)
    (worker,) = pipeline.start_workers("instruct", terms=terms, model="latency_s=0.05,dead=0.02")
    await pipeline.ready()
    await pipeline.publish(prompts("row-18", 200))
    audit = await pipeline.audit_when_settled()
    assert worker.codes[0] == 70
    assert audit.dead == 0
