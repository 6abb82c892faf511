"""A prompt that was sent again on purpose is decided again: its decision was never stored."""

from __future__ import annotations

from dataclasses import replace

import pytest

from promptmill.dedup.near import sketch
from promptmill.dedup.ports import DedupStore, Owner, Rebuilt, Verdict
from support.claims import (
    POLICY,
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


async def test_more_replays_replace_the_decision(dedup_store: DedupStore) -> None:
    await dedup_store.claim(claim("p", key("a")))
    again = claim("p", key("b"), decision="second", replays=1)
    assert await dedup_store.claim(again) == Verdict((token("b"),), POLICY)
    assert await dedup_store.claim(again) == Verdict((token("b"),), POLICY, replayed=True)


async def test_a_reject_is_replaced_too_and_by_one(dedup_store: DedupStore) -> None:
    await dedup_store.claim(claim("p"))
    assert accepted(await dedup_store.claim(claim("p", key("a"), decision="second", replays=1)))
    assert accepted(await dedup_store.claim(claim("p", decision="third", replays=2))) == ()


@pytest.mark.parametrize("replays", [0, 1])
async def test_equal_or_fewer_replays_are_a_variant(dedup_store: DedupStore, replays: int) -> None:
    await dedup_store.claim(claim("p", key("a"), replays=1))
    assert is_variant(
        await dedup_store.claim(claim("p", key("b"), decision="second", replays=replays))
    )


async def test_the_same_decision_keeps_its_verdict_and_its_higher_replays(
    dedup_store: DedupStore,
) -> None:
    await dedup_store.claim(claim("p", key("a")))
    verdict = await dedup_store.claim(claim("p", key("a"), replays=1))
    assert verdict == Verdict((token("a"),), POLICY, replayed=True)
    assert is_variant(await dedup_store.claim(claim("p", key("b"), decision="late", replays=1)))


async def test_content_of_the_replaced_decision_is_no_duplicate(dedup_store: DedupStore) -> None:
    await dedup_store.claim(claim("p", key("a", "same")))
    again = await dedup_store.claim(claim("p", key("b", "same"), decision="second", replays=1))
    assert again == Verdict((token("b"),), POLICY)


async def test_content_of_a_decision_before_the_replaced_one_is_no_duplicate(
    dedup_store: DedupStore,
) -> None:
    await dedup_store.claim(claim("p", key("a", "same")))
    await dedup_store.claim(claim("p", key("b", "other"), decision="second", replays=1))
    again = claim("p", key("c", "same"), key("d", "other"), decision="third", limit=2, replays=2)
    assert await dedup_store.claim(again) == Verdict(tokens("cd"), POLICY)


async def test_content_of_another_prompt_stays_a_duplicate(dedup_store: DedupStore) -> None:
    await dedup_store.claim(claim("other", key("o", "same")))
    await dedup_store.claim(claim("p", key("a")))
    refused = await dedup_store.claim(claim("p", key("b", "same"), decision="second", replays=1))
    assert refused == Verdict((), POLICY, {record_id("b"): Owner(record_id("o"))})


async def test_nothing_is_freed_for_other_prompts(dedup_store: DedupStore) -> None:
    await dedup_store.claim(claim("p", key("a", "first")))
    await dedup_store.claim(claim("p", key("b", "second"), decision="second", replays=1))
    for content in ("first", "second"):
        assert accepted(await dedup_store.claim(claim(f"twin {content}", key("t", content)))) == ()


async def test_nearly_equal_content_of_the_replaced_decision_is_no_duplicate(
    harness: Harness,
) -> None:
    dedup_store = await harness.dedup_store(sketches=True)
    await dedup_store.rebuild(Published())
    text = " ".join(f"word{number}" for number in range(60))

    def near(name: str, last: str) -> dict[str, object]:
        return {"options": (replace(key(name), sketch=sketch("Why?", text + last)),)}

    first = replace(claim("p"), similarity=0.8, **near("a", ""))  # type: ignore[arg-type]
    second = replace(
        claim("p", decision="second", replays=1),
        similarity=0.8,
        **near("b", " more"),  # type: ignore[arg-type]
    )
    twin = replace(claim("twin"), similarity=0.8, **near("t", " less"))  # type: ignore[arg-type]
    assert accepted(await dedup_store.claim(first)) == (token("a"),)
    assert accepted(await dedup_store.claim(second)) == (token("b"),)
    assert accepted(await dedup_store.claim(twin)) == ()


async def test_replays_beyond_what_is_kept_are_equal(dedup_store: DedupStore) -> None:
    await dedup_store.claim(claim("p", key("a"), replays=255))
    assert is_variant(await dedup_store.claim(claim("p", key("b"), decision="second", replays=300)))


async def test_of_published_decisions_the_one_with_more_replays_stands(harness: Harness) -> None:
    dedup_store = await harness.dedup_store()
    early = claimed("p", key("a", "same"))
    late = claimed("p", key("b", "same"), decision="second", replays=1)
    for number, published in enumerate(((early, late), (late, early))):
        await harness.empty()
        dedup_store = await harness.dedup_store()
        found = await dedup_store.rebuild(Published(published))
        assert found.claims == 2
        assert number or found == Rebuilt(claims=2, conflicts=0)
        again = await dedup_store.claim(claim("p", key("b", "same"), decision="second", replays=1))
        assert accepted(again) == (token("b"),)
        assert is_variant(await dedup_store.claim(claim("p", key("a", "same"))))


async def test_own_claims_with_replays_survive_a_loss(
    harness: Harness, dedup_store: DedupStore
) -> None:
    await dedup_store.claim(claim("p", key("a")))
    await dedup_store.claim(claim("p", key("b"), decision="second", replays=1))
    await harness.empty()
    await dedup_store.rebuild(Published())
    assert is_variant(await dedup_store.claim(claim("p", key("a"))))
    again = await dedup_store.claim(claim("p", key("b"), decision="second", replays=1))
    assert accepted(again) == (token("b"),)
