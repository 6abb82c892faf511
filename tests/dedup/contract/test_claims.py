"""Who gets what: one decision for each prompt, one owner for each content."""

from __future__ import annotations

import asyncio

from promptmill.dedup.ports import DedupStore, Owner, Verdict
from support.claims import (
    POLICY,
    Harness,
    Published,
    accepted,
    claim,
    is_variant,
    key,
    record_id,
    token,
    tokens,
)

ROUNDS = 50


async def test_the_first_claim_is_accepted_and_names_its_record(dedup_store: DedupStore) -> None:
    decision = await dedup_store.claim(claim("p", key("a")))
    assert decision == Verdict(accepted=(token("a"),), policy=POLICY)


async def test_a_claim_without_options_is_a_reject(dedup_store: DedupStore) -> None:
    assert await dedup_store.claim(claim("p")) == Verdict(accepted=(), policy=POLICY)


async def test_a_replay_gets_the_verdict_that_it_had(dedup_store: DedupStore) -> None:
    for asked in (claim("p", key("a")), claim("q")):
        first, again = await dedup_store.claim(asked), await dedup_store.claim(asked)
        assert isinstance(first, Verdict)
        assert again == Verdict(first.accepted, POLICY, replayed=True)


async def test_another_generation_of_a_decided_prompt_is_a_variant(dedup_store: DedupStore) -> None:
    await dedup_store.claim(claim("accepted", key("a")))
    await dedup_store.claim(claim("rejected"))
    assert is_variant(await dedup_store.claim(claim("accepted", key("b"), decision="second")))
    assert is_variant(await dedup_store.claim(claim("rejected", key("c"), decision="second")))


async def test_a_variant_takes_no_content(dedup_store: DedupStore) -> None:
    await dedup_store.claim(claim("p", key("a")))
    await dedup_store.claim(claim("p", key("b", "shared"), decision="second"))
    assert accepted(await dedup_store.claim(claim("q", key("c", "shared")))) == (token("c"),)


async def test_taken_content_is_refused_with_the_id_of_its_owner(dedup_store: DedupStore) -> None:
    await dedup_store.claim(claim("p", key("a", "shared")))
    refused = await dedup_store.claim(claim("q", key("b", "shared")))
    owners = {record_id("b"): Owner(record_id("a"))}
    assert refused == Verdict(accepted=(), policy=POLICY, owners=owners)


async def test_a_replayed_duplicate_is_refused_again_with_the_same_owner(
    dedup_store: DedupStore,
) -> None:
    await dedup_store.claim(claim("p", key("a", "shared")))
    first = await dedup_store.claim(claim("q", key("b", "shared")))
    again = await dedup_store.claim(claim("q", key("b", "shared")))
    assert isinstance(first, Verdict)
    assert again == Verdict((), POLICY, first.owners, replayed=True)


async def test_the_best_option_whose_content_is_free_is_taken(dedup_store: DedupStore) -> None:
    await dedup_store.claim(claim("p", key("a", "taken")))
    asked = claim("q", key("b", "taken"), key("c"), key("d"))
    assert accepted(await dedup_store.claim(asked)) == (token("c"),)
    assert accepted(await dedup_store.claim(asked)) == (token("c"),)


async def test_an_option_that_was_not_taken_stays_free(dedup_store: DedupStore) -> None:
    await dedup_store.claim(claim("p", key("a"), key("b", "second best")))
    assert accepted(await dedup_store.claim(claim("q", key("c", "second best")))) == (token("c"),)


async def test_as_many_options_are_taken_as_are_wanted(dedup_store: DedupStore) -> None:
    await dedup_store.claim(claim("p", key("a", "taken")))
    asked = claim("q", key("b"), key("c", "taken"), key("d"), key("e"), limit=2)
    assert accepted(await dedup_store.claim(asked)) == tokens("bd")
    assert accepted(await dedup_store.claim(asked)) == tokens("bd")


async def test_a_hundred_options_are_taken_at_once(dedup_store: DedupStore) -> None:
    names = [str(number) for number in range(128)]
    asked = claim("p", *map(key, names), limit=128)
    assert accepted(await dedup_store.claim(asked)) == tokens(names)
    assert accepted(await dedup_store.claim(asked)) == tokens(names)


async def test_two_options_of_one_claim_with_the_same_content_are_one_record(
    dedup_store: DedupStore,
) -> None:
    verdict = await dedup_store.claim(claim("p", key("a", "same"), key("b", "same"), limit=2))
    assert isinstance(verdict, Verdict)
    assert verdict.accepted == (token("a"),)
    assert verdict.owners == {record_id("b"): Owner(record_id("a"))}


async def test_a_replay_under_another_policy_keeps_verdict_and_policy(
    dedup_store: DedupStore,
) -> None:
    await dedup_store.claim(claim("p", key("a"), policy="old@1"))
    await dedup_store.claim(claim("q", policy="old@1"))
    accepted_before = await dedup_store.claim(
        claim("p", key("b"), key("c"), limit=2, policy="new@2")
    )
    rejected_before = await dedup_store.claim(claim("q", key("d"), policy="new@2"))
    assert accepted_before == Verdict((token("a"),), "old@1", replayed=True)
    assert rejected_before == Verdict((), "old@1", replayed=True)


async def test_another_dedup_store_learns_the_name_of_the_policy_that_decided(
    harness: Harness, dedup_store: DedupStore
) -> None:
    await dedup_store.claim(claim("p", key("a"), policy="old@1"))
    other = await harness.dedup_store()
    verdict = await other.claim(claim("p", key("a"), policy="new@2"))
    assert isinstance(verdict, Verdict)
    assert verdict.policy == "old@1"


async def test_of_twins_at_two_dedup_stores_at_once_exactly_one_is_accepted(
    harness: Harness, dedup_store: DedupStore
) -> None:
    other = await harness.dedup_store()
    for number in range(ROUNDS):
        shared = f"content {number}"
        verdicts = await asyncio.gather(
            dedup_store.claim(claim(f"p{number}", key(f"a{number}", shared))),
            other.claim(claim(f"q{number}", key(f"b{number}", shared))),
        )
        assert sorted(map(len, map(accepted, verdicts))) == [0, 1]


async def test_of_variants_at_two_dedup_stores_at_once_exactly_one_is_decided(
    harness: Harness, dedup_store: DedupStore
) -> None:
    other = await harness.dedup_store()
    for number in range(ROUNDS):
        decisions = await asyncio.gather(
            dedup_store.claim(claim(f"p{number}", key(f"a{number}"), decision="first")),
            other.claim(claim(f"p{number}", key(f"b{number}"), decision="second")),
        )
        assert sorted(map(is_variant, decisions)) == [False, True]


async def test_many_claims_at_once_get_each_its_own_answer(dedup_store: DedupStore) -> None:
    asked = [claim(f"p{number}", key(f"r{number}")) for number in range(1000)]
    decisions = await asyncio.gather(*map(dedup_store.claim, asked))
    assert [accepted(decision) for decision in decisions] == [
        (token(f"r{number}"),) for number in range(1000)
    ]


async def test_a_cancelled_caller_does_not_disturb_the_others(dedup_store: DedupStore) -> None:
    tasks = [
        asyncio.create_task(dedup_store.claim(claim(f"p{n}", key(f"r{n}")))) for n in range(20)
    ]
    await asyncio.sleep(0)
    tasks[3].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[3], asyncio.CancelledError)
    assert all(isinstance(results[n], Verdict) for n in range(20) if n != 3)


async def test_claims_are_counted_by_the_data_set(
    harness: Harness, dedup_store: DedupStore
) -> None:
    await dedup_store.claim(claim("p", key("a", "shared")))
    again = await (await harness.dedup_store()).claim(claim("p", key("a", "shared")))
    assert accepted(again) == (token("a"),)


async def test_an_empty_rebuild_leaves_nothing_to_do(
    harness: Harness, dedup_store: DedupStore
) -> None:
    assert await dedup_store.is_complete()
    assert (await dedup_store.rebuild(Published())).claims == 0
