"""What holds for every scored message, every policy and every order of delivery."""

from __future__ import annotations

import asyncio
from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptmill.dedup.ports import Claimed
from promptmill.filter.content import claimed_from_record, claimed_from_reject
from promptmill.filter.policy import Policy
from promptmill.filter.work import Filter
from promptmill.stream.outcome import Drop, Emit, Outcome
from promptmill.testing.dedup import MemoryClaims, MemoryDedupStore
from promptmill_schemas import Contract, Record, Reject, Scored, decode, encode
from support import contracts
from support.claims import Published
from support.scored import AT, answer, scored

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
TEXTS = ("yes", "Yes", "no", "maybe", " ")
policies = st.sampled_from(
    (
        Policy(),
        Policy(limits={}),
        Policy(limits={}, mode="all"),
        Policy(limits={}, mode="top-k", top_k=2),
        Policy(limits={}, mode="preference", min_margin=0.5),
    )
)
answers = st.builds(
    answer,
    st.sampled_from(TEXTS),
    st.floats(0, 4),
    helpfulness=st.sampled_from((2.0, 4.0)),
    refusal=st.sampled_from((None, None, None, "no grade")),
)
colliding = st.builds(
    lambda given, ask, run: scored(*given, ask=ask, run=run),
    st.lists(answers, min_size=1, max_size=3),
    st.sampled_from(("one?", "two?")),
    st.sampled_from(("a", "b", "c")),
)
"""Messages of which many share a prompt, and many a content."""


async def decide(claims: MemoryClaims, message: Scored, policy: Policy) -> Outcome:
    return await Filter(policy, MemoryDedupStore(claims), clock=lambda: AT)(message)


def published(outcomes: list[Outcome]) -> list[Contract]:
    emitted = [outcome for outcome in outcomes if isinstance(outcome, Emit)]
    return [outgoing.contract for outcome in emitted for outgoing in outcome.messages]


def claimed(contract: Contract) -> Claimed:
    if isinstance(contract, Record):
        return claimed_from_record(contract)
    assert isinstance(contract, Reject)
    return claimed_from_reject(contract)


@unhurried
@given(contracts.scored(), policies)
def test_every_message_gets_records_or_one_reject_that_survive_the_wire(
    message: Scored, policy: Policy
) -> None:
    outcome = asyncio.run(decide(MemoryClaims(epoch=1), message, policy))
    assert isinstance(outcome, Emit)
    kinds = Counter(outgoing.topic.name for outgoing in outcome.messages)
    assert kinds == {"rejects": 1} or (set(kinds) == {"records"} and kinds["records"] >= 1)
    for outgoing in outcome.messages:
        contract = outgoing.contract
        assert decode(type(contract), encode(contract)) == contract


@unhurried
@given(st.lists(st.tuples(colliding, policies), max_size=12))
def test_no_prompt_is_decided_twice_and_no_content_accepted_twice(
    deliveries: list[tuple[Scored, Policy]],
) -> None:
    async def run() -> list[Contract]:
        claims = MemoryClaims(epoch=1)
        work = [decide(claims, message, policy) for message, policy in deliveries]
        return published(await asyncio.gather(*work))

    decided: dict[str, tuple[str, str]] = {}
    owners: dict[str, str] = {}
    for contract in asyncio.run(run()):
        assert isinstance(contract, Record | Reject)
        decision = (contract.decision_id, type(contract).__name__)
        assert decided.setdefault(contract.prompt_id, decision) == decision
        for record in claimed(contract).records:
            assert owners.setdefault(record.content, record.record_id) == record.record_id


@unhurried
@given(st.lists(st.tuples(colliding, policies), max_size=8), st.data())
def test_claims_rebuilt_from_what_was_published_decide_the_same(
    deliveries: list[tuple[Scored, Policy]], data: st.DataObject
) -> None:
    async def run() -> None:
        before = MemoryClaims(epoch=1)
        outcomes = [await decide(before, message, policy) for message, policy in deliveries]
        contracts_out = published(outcomes)
        order = data.draw(st.permutations(range(len(contracts_out))))
        after = MemoryClaims()
        told = Published(tuple(claimed(contracts_out[place]) for place in order))
        assert (await MemoryDedupStore(after).rebuild(told)).conflicts == 0
        again = [await decide(after, message, policy) for message, policy in deliveries]
        assert again == outcomes

    asyncio.run(run())


@unhurried
@given(colliding, policies)
def test_a_dropped_message_publishes_nothing(message: Scored, policy: Policy) -> None:
    async def run() -> None:
        claims = MemoryClaims(epoch=1)
        first = await decide(claims, message, policy)
        other = message.model_copy(
            update={"scorer": message.scorer.model_copy(update={"revision": "other"})}
        )
        assert await decide(claims, other, policy) == Drop("variant")
        assert await decide(claims, message, policy) == first

    asyncio.run(run())
