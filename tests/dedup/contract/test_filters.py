"""Whole filters that share claims: twins, crashes between claim and publication, lost claims."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from promptmill.dedup.ports import DedupStore
from promptmill.filter.content import claimed_from_record, claimed_from_reject
from promptmill.filter.policy import Policy
from promptmill.filter.recovery import RecoveringClaims
from promptmill.filter.work import Filter
from promptmill.runtime.errors import Unavailable
from promptmill.stream.outcome import Emit, Outcome
from promptmill_schemas import Record, Reject, Scored
from support.claims import Harness, Published, content_key
from support.scored import AT, answer, scored
from support.waiting import eventually

ROUNDS = 50
WORDS = [f"{first}{second}ing" for first in "bcdfghjklm" for second in "aeiourst"]
POLICY = Policy(limits={})


class Topics:
    """What was published, as the store would tell it."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.rejects: list[Reject] = []

    def take(self, outcome: Outcome) -> None:
        if isinstance(outcome, Emit):
            for outgoing in outcome.messages:
                contract = outgoing.contract
                if isinstance(contract, Record):
                    self.records.append(contract)
                elif isinstance(contract, Reject):
                    self.rejects.append(contract)

    def claimed(self) -> Published:
        records = tuple(map(claimed_from_record, self.records))
        return Published(records + tuple(map(claimed_from_reject, self.rejects)))

    def contents(self) -> Counter[str]:
        """How many records there are of each content."""
        by_record = {record.record_id: record for record in self.records}
        return Counter(
            content_key("sft", record.messages[:-1], record.chosen) for record in by_record.values()
        )

    def decisions(self) -> Counter[str]:
        """How many decisions there are about each prompt."""
        accepted = {(each.prompt_id, each.decision_id) for each in self.records}
        rejected = {(each.prompt_id, each.decision_id) for each in self.rejects}
        return Counter(prompt_id for prompt_id, _ in (*accepted, *rejected))


def work(dedup_store: DedupStore | RecoveringClaims) -> Filter:
    return Filter(POLICY, dedup_store, clock=lambda: AT)


async def test_of_twins_at_two_filters_at_once_exactly_one_is_accepted(
    harness: Harness, dedup_store: DedupStore
) -> None:
    filters = [work(dedup_store), work(await harness.dedup_store())]
    for number in range(ROUNDS):
        twins = [
            scored(answer("Rayleigh."), ask=f"Why {number}?", run="one"),
            scored(answer(" Rayleigh.\n"), ask=f"Why {number}? ", run="two"),
        ]
        topics = Topics()
        for outcome in await asyncio.gather(*(f(t) for f, t in zip(filters, twins, strict=True))):
            topics.take(outcome)
        assert (len(topics.records), len(topics.rejects)) == (1, 1)
        duplicate = topics.rejects[0].candidates[0].duplicate
        assert duplicate is not None
        assert duplicate.record_id == topics.records[0].record_id


async def test_of_near_twins_at_two_filters_at_once_exactly_one_is_accepted(
    harness: Harness,
) -> None:
    dedup_stores = [await harness.dedup_store(sketches=True) for _ in range(2)]
    await dedup_stores[0].rebuild(Published())
    policy = POLICY.model_copy(update={"duplicate_similarity": 0.8})
    filters = [Filter(policy, dedup_store, clock=lambda: AT) for dedup_store in dedup_stores]
    for number in range(ROUNDS):
        text = " ".join(random.Random(number).choices(WORDS, k=60))
        twins = [
            scored(answer(text), ask=f"Tell me story {number}, please.", run="one"),
            scored(answer(f"Well: {text}"), ask=f"Tell me story {number}, please!", run="two"),
        ]
        topics = Topics()
        for outcome in await asyncio.gather(*(f(t) for f, t in zip(filters, twins, strict=True))):
            topics.take(outcome)
        assert (len(topics.records), len(topics.rejects)) == (1, 1)
        assert topics.rejects[0].reason == "duplicate_near"


async def test_a_filter_killed_between_claim_and_publication_is_replaced_without_a_trace(
    harness: Harness, dedup_store: DedupStore
) -> None:
    topics = Topics()
    message = scored(answer("A."), answer("B.", 5.0))
    await work(dedup_store)(message)  # killed: the outcome is never published
    topics.take(await work(await harness.dedup_store())(scored(answer("B."), run="twin")))
    topics.take(await work(await harness.dedup_store())(message))
    assert [record.chosen for record in topics.records] == ["B."]
    assert len(topics.rejects) == 1


async def test_claims_emptied_again_and_again_let_nothing_through_twice(harness: Harness) -> None:
    """Deliveries with replays, variants and twins at two filters, while claims are lost."""
    order = random.Random(7)
    topics = Topics()
    messages = [
        scored(answer(f"{text}{number % 20}"), ask=f"{number % 40}?", run=f"run{number % 3}")
        for number in range(120)
        for text in ("first", "second")
    ]

    async def deliver(recovering: RecoveringClaims, message: Scored) -> None:
        while True:
            try:
                topics.take(await work(recovering)(message))
            except Unavailable:  # as a stage does, leave the loop to the rebuild meanwhile
                await eventually(lambda: recovering.usable)
            else:
                return

    one = RecoveringClaims(await harness.dedup_store(), topics.claimed)
    two = RecoveringClaims(await harness.dedup_store(), topics.claimed)
    async with one, two:
        for _ in range(8):
            batch = order.choices(messages, k=60)
            deliveries = [deliver(order.choice((one, two)), message) for message in batch]
            await asyncio.gather(harness.empty(), *deliveries)

    assert max(topics.decisions().values()) == 1
    assert max(topics.contents().values()) == 1
