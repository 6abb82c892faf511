"""Claims that were lost come back from what was published, and nothing is decided meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from promptmill.dedup.ports import Claimed, DedupStore, Owner, Rebuilt, StateLost, Verdict
from promptmill.runtime.errors import Unavailable
from support.claims import (
    Harness,
    Published,
    accepted,
    claim,
    claimed,
    is_variant,
    key,
    record_id,
    token,
    tokens,
)


def corpus(size: int) -> tuple[Claimed, ...]:
    return tuple(claimed(f"p{number}", key(f"r{number}")) for number in range(size))


async def test_nothing_is_decided_before_the_first_rebuild(harness: Harness) -> None:
    dedup_store = await harness.dedup_store()
    assert not await dedup_store.is_complete()
    with pytest.raises(StateLost):
        await dedup_store.claim(claim("p", key("a")))


async def test_a_lost_state_is_nobodys_poison() -> None:
    assert issubclass(StateLost, Unavailable)


async def test_emptied_claims_are_noticed_between_two_claims(
    harness: Harness, dedup_store: DedupStore
) -> None:
    await dedup_store.claim(claim("p", key("a")))
    await harness.empty()
    with pytest.raises(StateLost):
        await dedup_store.claim(claim("q", key("b")))
    assert not await dedup_store.is_complete()


async def test_a_claim_that_met_lost_claims_left_nothing_behind(
    harness: Harness, dedup_store: DedupStore
) -> None:
    await harness.empty()
    with pytest.raises(StateLost):
        await dedup_store.claim(claim("p", key("a", "content")))
    await dedup_store.rebuild(Published())
    assert accepted(await dedup_store.claim(claim("q", key("b", "content")))) == (token("b"),)
    assert accepted(await dedup_store.claim(claim("p", key("c"), decision="second"))) == (
        token("c"),
    )


async def test_what_was_published_stands_after_a_rebuild(harness: Harness) -> None:
    dedup_store = await harness.dedup_store()
    published = (claimed("p", key("a", "shared")), claimed("q"))
    assert await dedup_store.rebuild(Published(published)) == Rebuilt(claims=2, conflicts=0)

    assert accepted(await dedup_store.claim(claim("p", key("a", "shared")))) == (token("a"),)
    assert accepted(await dedup_store.claim(claim("q"))) == ()
    assert is_variant(await dedup_store.claim(claim("p", key("c"), decision="second")))
    assert is_variant(await dedup_store.claim(claim("q", key("d"), decision="second")))
    duplicate = await dedup_store.claim(claim("twin", key("b", "shared")))
    assert isinstance(duplicate, Verdict)
    assert duplicate.owners == {record_id("b"): Owner(record_id("a"))}


async def test_a_large_corpus_is_loaded_whole(harness: Harness) -> None:
    dedup_store = await harness.dedup_store()
    assert (await dedup_store.rebuild(Published(corpus(3000)))).claims == 3000
    for number in (0, 127, 128, 1500, 2999):
        asked = claim(f"twin{number}", key(f"t{number}", f"r{number}"))
        assert accepted(await dedup_store.claim(asked)) == ()


async def test_records_of_one_decision_are_loaded_one_by_one(harness: Harness) -> None:
    dedup_store = await harness.dedup_store()
    await dedup_store.rebuild(Published((claimed("p", key("b")), claimed("p", key("a")))))
    asked = claim("p", key("a"), key("b"), limit=2)
    assert sorted(accepted(await dedup_store.claim(asked))) == sorted(tokens("ab"))


async def test_a_decision_that_was_published_in_part_is_completed_by_its_replay(
    harness: Harness,
) -> None:
    dedup_store = await harness.dedup_store()
    await dedup_store.rebuild(Published((claimed("p", key("a")),)))
    asked = claim("p", key("a"), key("b"), key("c"), limit=2)
    assert accepted(await dedup_store.claim(asked)) == tokens("ab")
    assert accepted(await dedup_store.claim(claim("q", key("d", "b")))) == ()


async def test_a_published_reject_is_not_revised(harness: Harness) -> None:
    dedup_store = await harness.dedup_store()
    await dedup_store.rebuild(Published((claimed("p"),)))
    assert accepted(await dedup_store.claim(claim("p", key("a")))) == ()


async def test_what_leaked_while_the_claims_were_lost_is_counted(harness: Harness) -> None:
    dedup_store = await harness.dedup_store()
    published = (
        claimed("p", key("a", "shared")),
        claimed("q", key("b", "shared")),
        claimed("twice", key("c")),
        claimed("twice", key("d"), decision="second"),
        claimed("both", key("e")),
        claimed("both"),
    )
    assert await dedup_store.rebuild(Published(published)) == Rebuilt(claims=6, conflicts=3)


async def test_loading_the_same_twice_is_no_contradiction(harness: Harness) -> None:
    dedup_store = await harness.dedup_store()
    assert await dedup_store.rebuild(Published(corpus(10) * 2)) == Rebuilt(claims=20, conflicts=0)


async def test_two_filters_rebuild_at_the_same_time(harness: Harness) -> None:
    one, two = await harness.dedup_store(), await harness.dedup_store()
    await asyncio.gather(one.rebuild(Published(corpus(400))), two.rebuild(Published(corpus(400))))
    for dedup_store in (one, two):
        for number in (0, 399):
            asked = claim(f"twin{number}", key(f"t{number}", f"r{number}"))
            assert accepted(await dedup_store.claim(asked)) == ()


async def test_a_slower_rebuild_stops_when_the_claims_are_complete(harness: Harness) -> None:
    fast, slow = await harness.dedup_store(), await harness.dedup_store()

    async def overtake(number: int) -> None:
        if number == 200:
            await harness.silence()
            await fast.rebuild(Published(corpus(2000)))

    overtaken = Published(corpus(2000), overtake)
    await slow.rebuild(overtaken)
    assert overtaken.read < 2000
    assert accepted(await slow.claim(claim("twin", key("t", "r1999")))) == ()


async def test_a_slower_rebuild_does_not_undo_what_was_decided_meanwhile(harness: Harness) -> None:
    fast, slow = await harness.dedup_store(), await harness.dedup_store()

    async def overtake(number: int) -> None:
        if number == 0:
            await harness.silence()
            await fast.rebuild(Published(corpus(10)))
            await fast.claim(claim("new", key("n", "new content")))

    await slow.rebuild(Published(corpus(10), overtake))
    assert accepted(await slow.claim(claim("new", key("n", "new content")))) == (token("n"),)
    assert accepted(await slow.claim(claim("twin", key("t", "new content")))) == ()


async def test_claims_lost_during_a_rebuild_do_not_count_as_complete(harness: Harness) -> None:
    dedup_store = await harness.dedup_store()

    async def lose(number: int) -> None:
        if number == 300:
            await harness.empty()

    lost = Published(corpus(2000), lose)
    with pytest.raises(StateLost):
        await dedup_store.rebuild(lost)
    assert lost.read < 600
    assert not await dedup_store.is_complete()
    await dedup_store.rebuild(Published(corpus(600)))
    assert accepted(await dedup_store.claim(claim("twin", key("t", "r0")))) == ()


async def test_claims_lost_after_the_last_one_was_loaded_do_not_count_either(
    harness: Harness,
) -> None:
    dedup_store = await harness.dedup_store()

    class LostAtTheEnd(Published):
        async def __aiter__(self):  # type: ignore[no-untyped-def]
            async for each in super().__aiter__():
                yield each
            await harness.empty()

    with pytest.raises(StateLost):
        await dedup_store.rebuild(LostAtTheEnd(corpus(128)))
    assert not await dedup_store.is_complete()


async def test_own_claims_on_their_way_to_the_broker_survive(
    harness: Harness, dedup_store: DedupStore
) -> None:
    await dedup_store.claim(claim("p", key("a", "in flight")))
    await dedup_store.claim(claim("q"))
    await harness.empty()
    with pytest.raises(StateLost):
        await dedup_store.claim(claim("r", key("b")))
    await dedup_store.rebuild(Published())
    assert accepted(await dedup_store.claim(claim("twin", key("t", "in flight")))) == ()
    assert is_variant(await dedup_store.claim(claim("q", key("c"), decision="second")))


async def test_another_filters_rebuild_is_joined_with_own_claims(
    harness: Harness, dedup_store: DedupStore
) -> None:
    await dedup_store.claim(claim("p", key("a", "in flight")))
    await harness.empty()
    other = await harness.dedup_store()
    await other.rebuild(Published())

    assert accepted(await dedup_store.claim(claim("q", key("b")))) == (token("b"),)
    assert accepted(await other.claim(claim("twin", key("t", "in flight")))) == ()


async def test_the_policy_of_a_loaded_decision_is_known(harness: Harness) -> None:
    dedup_store = await harness.dedup_store()
    old = claimed("p", key("a"))
    await dedup_store.rebuild(
        Published((Claimed(old.prompt_id, old.decision_id, "old@9", old.records),))
    )
    verdict = await (await harness.dedup_store()).claim(claim("p", key("a"), policy="new@1"))
    assert isinstance(verdict, Verdict)
    assert verdict.policy == "old@9"


async def test_the_policy_of_a_claim_after_anothers_rebuild_is_known(
    harness: Harness, dedup_store: DedupStore
) -> None:
    await dedup_store.claim(claim("before", key("a"), policy="old@9"))
    await harness.empty()
    await (await harness.dedup_store()).rebuild(Published((claimed("before", key("a")),)))
    await dedup_store.claim(claim("after", key("b"), policy="old@9"))
    verdict = await (await harness.dedup_store()).claim(claim("after", key("b"), policy="new@1"))
    assert isinstance(verdict, Verdict)
    assert verdict.policy == "old@9"


async def test_the_policy_of_a_claim_after_the_own_rebuild_is_known(
    harness: Harness, dedup_store: DedupStore
) -> None:
    await dedup_store.claim(claim("before", policy="old@9"))
    await harness.empty()
    await dedup_store.rebuild(Published())
    await dedup_store.claim(claim("after", key("b"), policy="old@9"))
    verdict = await (await harness.dedup_store()).claim(claim("after", key("b"), policy="new@1"))
    assert isinstance(verdict, Verdict)
    assert verdict.policy == "old@9"
