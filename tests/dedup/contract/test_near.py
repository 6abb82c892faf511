"""Nearly equal content: found by its sketch, decided in the same atomic step."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest

from promptmill.dedup.near import BAND_BYTES, BANDS, EXEMPT, SIGNATURE_BYTES, Sketch, sketch
from promptmill.dedup.ports import Claim, DedupStore, Owner, RecordKey, StateLost, Verdict
from promptmill.runtime.errors import Misconfigured
from support.claims import (
    POLICY,
    Harness,
    Published,
    accepted,
    claim,
    claimed,
    key,
    record_id,
    token,
)

LIMIT = 0.8
ROUNDS = 50
WORDS = [f"{first}{second}ing" for first in "bcdfghjklm" for second in "aeiourst"]


def words(seed: str, count: int = 80) -> list[str]:
    return random.Random(seed).choices(WORDS, k=count)


def near(seed: str, changed: int = 0, asked: str = "why") -> Sketch:
    """The sketch of 80 words of which so many were changed: 5 leave a similarity of about 0.85."""
    text = words(seed)
    for place in range(changed):
        text[place * len(text) // max(changed, 1)] = f"other{place}"
    return sketch(asked, " ".join(text))


def sketched(record: str, of: Sketch) -> RecordKey:
    return replace(key(record), sketch=of)


def asked(prompt: str, *options: RecordKey, decision: str = "first", limit: int = 1) -> Claim:
    return replace(claim(prompt, *options, decision=decision, limit=limit), similarity=LIMIT)


def alone(record: RecordKey) -> Claim:
    """A claim that only the very same sketch would stop."""
    return replace(asked(f"prompt of {record.record_id}", record), similarity=1.0)


@pytest.fixture
async def keen(harness: Harness) -> DedupStore:
    """A dedup store that keeps sketches; nothing was published."""
    dedup_store = await harness.dedup_store(sketches=True)
    await dedup_store.rebuild(Published())
    return dedup_store


async def test_nearly_equal_content_is_refused_with_owner_and_similarity(keen: DedupStore) -> None:
    await keen.claim(asked("p", sketched("a", near("text"))))
    verdict = await keen.claim(asked("q", sketched("b", near("text", changed=2))))
    assert isinstance(verdict, Verdict)
    assert verdict.accepted == ()
    owner = verdict.owners[record_id("b")]
    assert (owner.record_id, owner.exact) == (record_id("a"), False)
    assert LIMIT <= owner.similarity < 1.0


async def test_other_content_is_accepted(keen: DedupStore) -> None:
    await keen.claim(asked("p", sketched("a", near("text"))))
    for number, other in enumerate((near("text", changed=30), near("another text"))):
        verdict = await keen.claim(asked(f"q{number}", sketched(f"b{number}", other)))
        assert accepted(verdict) == (token(f"b{number}"),)


async def test_the_same_answer_to_another_question_is_accepted(keen: DedupStore) -> None:
    first = near("text", asked="what do you see on the first of the two pictures")
    second = near("text", asked="please continue the following story in a few sentences")
    await keen.claim(asked("p", sketched("a", first)))
    assert accepted(await keen.claim(asked("q", sketched("b", second)))) == (token("b"),)


async def test_equal_content_is_an_exact_duplicate_also_with_a_sketch(keen: DedupStore) -> None:
    taken = replace(key("a", "same"), sketch=near("text"))
    twin = replace(key("b", "same"), sketch=near("text"))
    await keen.claim(asked("p", taken))
    verdict = await keen.claim(asked("q", twin))
    assert verdict == Verdict((), POLICY, {record_id("b"): Owner(record_id("a"))})


async def test_replays_keep_their_verdicts(keen: DedupStore) -> None:
    first, twin = asked("p", sketched("a", near("t"))), asked("q", sketched("b", near("t", 2)))
    verdicts = [await keen.claim(first), await keen.claim(twin)]
    for verdict, again in zip(
        verdicts, [await keen.claim(first), await keen.claim(twin)], strict=True
    ):
        assert isinstance(verdict, Verdict)
        assert again == replace(verdict, replayed=True)


async def test_a_near_duplicate_makes_room_for_the_next_best_option(keen: DedupStore) -> None:
    await keen.claim(asked("p", sketched("a", near("text"))))
    best, next_best = sketched("b", near("text", changed=2)), sketched("c", near("other text"))
    assert accepted(await keen.claim(asked("q", best, next_best))) == (token("c"),)


async def test_nearly_equal_answers_of_one_prompt_are_one_record(keen: DedupStore) -> None:
    options = [sketched("a", near("t")), sketched("b", near("t", 2)), sketched("c", near("u"))]
    verdict = await keen.claim(asked("p", *options, limit=3))
    assert accepted(verdict) == (token("a"), token("c"))


async def test_the_nearest_of_several_owners_is_named(keen: DedupStore) -> None:
    for record, changed in (("far", 4), ("close", 1), ("farther", 5)):
        await keen.claim(alone(sketched(record, near("text", changed))))
    verdict = await keen.claim(asked("p", sketched("b", near("text"))))
    assert isinstance(verdict, Verdict)
    assert verdict.owners[record_id("b")].record_id == record_id("close")


async def test_a_variant_leaves_no_sketch_behind(keen: DedupStore) -> None:
    await keen.claim(asked("p", sketched("a", near("one text"))))
    await keen.claim(asked("p", sketched("b", near("two text")), decision="second"))
    assert accepted(await keen.claim(asked("q", sketched("c", near("two text"))))) == (token("c"),)


async def test_exempt_content_is_nearly_equal_to_nothing(keen: DedupStore) -> None:
    for number in range(3):
        verdict = await keen.claim(asked(f"p{number}", sketched(f"r{number}", EXEMPT)))
        assert accepted(verdict) == (token(f"r{number}"),)
    assert await keen.is_complete()


async def test_of_near_twins_at_two_dedup_stores_at_once_exactly_one_is_accepted(
    harness: Harness, keen: DedupStore
) -> None:
    other = await harness.dedup_store(sketches=True)
    for number in range(ROUNDS):
        one, two = near(f"text {number}"), near(f"text {number}", changed=2)
        verdicts = await asyncio.gather(
            keen.claim(asked(f"p{number}", sketched(f"a{number}", one))),
            other.claim(asked(f"q{number}", sketched(f"b{number}", two))),
        )
        assert sorted(map(len, map(accepted, verdicts))) == [0, 1]


async def test_near_duplicates_of_what_was_published_are_refused_after_a_rebuild(
    harness: Harness,
) -> None:
    dedup_store = await harness.dedup_store(sketches=True)
    published = tuple(claimed(f"p{n}", sketched(f"r{n}", near(f"text {n}"))) for n in range(300))
    await dedup_store.rebuild(Published(published))
    for number in (0, 150, 299):
        twin = sketched(f"t{number}", near(f"text {number}", changed=2))
        assert accepted(await dedup_store.claim(asked(f"q{number}", twin))) == ()


async def test_own_sketches_on_their_way_to_the_broker_survive(
    harness: Harness, keen: DedupStore
) -> None:
    await keen.claim(asked("p", sketched("a", near("text"))))
    await harness.empty()
    await keen.rebuild(Published())
    assert accepted(await keen.claim(asked("q", sketched("b", near("text", 2))))) == ()


async def test_claims_that_were_kept_without_sketches_are_incomplete_for_who_needs_them(
    harness: Harness, dedup_store: DedupStore
) -> None:
    await dedup_store.claim(claim("p", key("a")))
    keen = await harness.dedup_store(sketches=True)
    assert not await keen.is_complete()
    with pytest.raises(StateLost):
        await keen.claim(asked("q", sketched("b", near("text"))))
    await keen.rebuild(Published((claimed("p", sketched("a", near("text"))),)))
    assert accepted(await keen.claim(asked("q", sketched("b", near("text", 2))))) == ()


async def test_sketches_of_all_that_was_published_are_added_to_claims_that_are_complete(
    harness: Harness, dedup_store: DedupStore
) -> None:
    assert await dedup_store.is_complete()
    keen = await harness.dedup_store(sketches=True)
    published = tuple(claimed(f"p{n}", sketched(f"r{n}", near(f"text {n}"))) for n in range(300))
    assert (await keen.rebuild(Published(published))).claims == 300
    twin = sketched("t", near("text 299", changed=2))
    assert accepted(await keen.claim(asked("q", twin))) == ()


async def test_filters_without_sketches_go_on_while_others_load_them(
    harness: Harness, dedup_store: DedupStore
) -> None:
    keen = await harness.dedup_store(sketches=True)

    async def meanwhile(_: int) -> None:
        await dedup_store.claim(claim("during", sketched("d", EXEMPT)))

    await keen.rebuild(Published((claimed("q", sketched("b", near("text"))),), meanwhile))
    assert await keen.is_complete()
    assert accepted(await dedup_store.claim(claim("after", sketched("e", EXEMPT)))) == (token("e"),)


async def test_a_record_without_a_sketch_makes_the_sketches_incomplete(
    harness: Harness, keen: DedupStore
) -> None:
    plain = await harness.dedup_store()
    await plain.rebuild(Published())
    await plain.claim(claim("p", key("a")))
    with pytest.raises(StateLost):
        await keen.claim(asked("q", sketched("b", near("text"))))
    assert await plain.is_complete()


async def test_a_record_without_a_sketch_during_a_rebuild_is_noticed(
    harness: Harness, dedup_store: DedupStore
) -> None:
    keen = await harness.dedup_store(sketches=True)

    async def meanwhile(_: int) -> None:
        await dedup_store.claim(claim("during", key("d")))

    with pytest.raises(StateLost):
        await keen.rebuild(Published((claimed("q", sketched("b", near("text"))),), meanwhile))
    again = (claimed("q", sketched("b", near("text"))), claimed("during", sketched("d", EXEMPT)))
    await keen.rebuild(Published(again))
    assert await keen.is_complete()


async def test_a_store_that_tells_no_sketches_is_not_taken_for_complete(harness: Harness) -> None:
    keen = await harness.dedup_store(sketches=True)
    with pytest.raises(StateLost):
        await keen.rebuild(Published((claimed("p", key("a")),)))


async def test_all_records_that_share_a_band_are_compared(keen: DedupStore) -> None:
    bands = bytes(range(BANDS * BAND_BYTES))
    chance = random.Random(5)
    crowd = [Sketch(bands, chance.randbytes(SIGNATURE_BYTES)) for _ in range(5)]
    for number, each in enumerate(crowd):
        assert accepted(await keen.claim(asked(f"p{number}", sketched(f"r{number}", each))))
    for number, each in enumerate(crowd):
        verdict = await keen.claim(asked(f"q{number}", sketched(f"t{number}", each)))
        assert isinstance(verdict, Verdict)
        assert verdict.owners[record_id(f"t{number}")].record_id == record_id(f"r{number}")


async def test_a_dedup_store_without_sketches_refuses_to_look_for_them(
    dedup_store: DedupStore,
) -> None:
    with pytest.raises(Misconfigured, match="sketches"):
        await dedup_store.claim(asked("p", sketched("a", near("text"))))
