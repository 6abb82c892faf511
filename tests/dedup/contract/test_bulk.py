"""A rebuild of many decisions at once finds and merges what single ones do."""

from __future__ import annotations

import asyncio
import random

import pytest

from promptmill.dedup.ports import Claimed, DedupStore, Owner, Rebuilt, StateLost, Verdict
from support.claims import (
    Harness,
    Published,
    accepted,
    block,
    claim,
    claimed,
    is_variant,
    key,
    record_id,
    token,
    tokens,
)

MANY = 20_000


def corpus(size: int) -> list[Claimed]:
    return [claimed(f"p{number}", key(f"r{number}")) for number in range(size)]


async def test_a_block_of_records_and_one_of_rejects_stand(harness: Harness) -> None:
    dedup_store = await harness.dedup_store()
    records = block(claimed("p", key("a", "shared")), claimed("o", key("b")))
    rejects = block(claimed("q"), claimed("r"))
    assert await dedup_store.rebuild(Published((records, rejects))) == Rebuilt(
        claims=4, conflicts=0
    )
    assert accepted(await dedup_store.claim(claim("p", key("a", "shared")))) == (token("a"),)
    assert accepted(await dedup_store.claim(claim("q"))) == ()
    assert is_variant(await dedup_store.claim(claim("p", key("c"), decision="second")))
    assert is_variant(await dedup_store.claim(claim("q", key("d"), decision="second")))
    duplicate = await dedup_store.claim(claim("twin", key("t", "shared")))
    assert isinstance(duplicate, Verdict)
    assert duplicate.owners == {record_id("t"): Owner(record_id("a"))}


async def test_many_decisions_are_all_loaded(harness: Harness) -> None:
    dedup_store = await harness.dedup_store()
    published = corpus(MANY)
    blocks = tuple(block(*published[at : at + 7_000]) for at in range(0, MANY, 7_000))
    assert await dedup_store.rebuild(Published(blocks)) == Rebuilt(claims=MANY, conflicts=0)
    for number in random.Random(3).choices(range(MANY), k=200):
        twin = claim(f"twin{number}", key(f"t{number}", f"r{number}"))
        assert accepted(await dedup_store.claim(twin)) == ()
        own = await dedup_store.claim(claim(f"p{number}", key(f"r{number}")))
        assert accepted(own) == (token(f"r{number}"),)


async def test_records_of_one_decision_are_joined_within_and_between_blocks(
    harness: Harness,
) -> None:
    dedup_store = await harness.dedup_store()
    a, b, c = (claimed("p", key(name)) for name in "abc")
    assert (await dedup_store.rebuild(Published((block(a, b), block(c))))).conflicts == 0
    asked = claim("p", *map(key, "abc"), limit=3)
    assert sorted(accepted(await dedup_store.claim(asked))) == sorted(tokens("abc"))


async def test_the_same_blocks_twice_are_no_contradiction(harness: Harness) -> None:
    dedup_store = await harness.dedup_store()
    blocks = (block(*corpus(500)), block(*corpus(500)))
    assert await dedup_store.rebuild(Published(blocks)) == Rebuilt(claims=1000, conflicts=0)


@pytest.mark.parametrize("together", [True, False])
async def test_what_leaked_is_counted(harness: Harness, together: bool) -> None:
    dedup_store = await harness.dedup_store()
    published = (
        claimed("p", key("a", "shared")),
        claimed("q", key("b", "shared")),
        claimed("twice", key("c")),
        claimed("twice", key("d"), decision="second"),
    )
    blocks = (block(*published),) if together else tuple(block(each) for each in published)
    assert await dedup_store.rebuild(Published(blocks)) == Rebuilt(claims=4, conflicts=2)


async def test_of_decisions_in_a_block_the_one_with_more_replays_stands(harness: Harness) -> None:
    dedup_store = await harness.dedup_store()
    published = (claimed("p", key("a")), claimed("p", key("b"), decision="second", replays=1))
    await dedup_store.rebuild(Published((block(*published),)))
    assert is_variant(await dedup_store.claim(claim("p", key("a"))))


async def test_own_claims_on_their_way_are_joined_with_a_block(
    harness: Harness, dedup_store: DedupStore
) -> None:
    await dedup_store.claim(claim("p", key("a", "in flight")))
    await harness.empty()
    await dedup_store.rebuild(Published((block(*corpus(1_000)),)))
    assert accepted(await dedup_store.claim(claim("twin", key("t", "in flight")))) == ()
    assert accepted(await dedup_store.claim(claim("other", key("u", "r999")))) == ()


async def test_claims_lost_during_a_block_do_not_count_as_complete(harness: Harness) -> None:
    dedup_store = await harness.dedup_store()

    async def lose(number: int) -> None:
        if number == 1:
            await harness.empty()

    with pytest.raises(StateLost):
        await dedup_store.rebuild(Published((block(*corpus(500)), block(*corpus(500))), lose))
    assert not await dedup_store.is_complete()


async def test_two_filters_load_blocks_at_the_same_time(harness: Harness) -> None:
    one, two = await harness.dedup_store(), await harness.dedup_store()
    blocks = tuple(block(*corpus(2_000)[at : at + 500]) for at in range(0, 2_000, 500))
    await asyncio.gather(one.rebuild(Published(blocks)), two.rebuild(Published(blocks)))
    for dedup_store in (one, two):
        assert accepted(await dedup_store.claim(claim("twin", key("t", "r1999")))) == ()


async def test_a_block_makes_sketches_incomplete(harness: Harness) -> None:
    keen, plain = await harness.dedup_store(sketches=True), await harness.dedup_store()
    await keen.rebuild(Published())
    await harness.empty()

    async def begin(_: int) -> None:
        await harness.silence()
        await plain.rebuild(Published((block(*corpus(100)),)))

    with pytest.raises(StateLost):
        await keen.rebuild(Published((claimed("p"),), begin))
    assert not await keen.is_complete()
