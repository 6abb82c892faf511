"""Lost claims: nothing is decided, they are rebuilt once, and the filter goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable

import pytest

from promptmill.dedup.ports import Claimed, Decisions, Rebuilt, StateLost
from promptmill.filter.recovery import CHECK_S, RecoveringClaims
from promptmill.runtime.errors import Fatal, Misconfigured, Unavailable
from promptmill.testing.dedup import MemoryClaims, MemoryDedupStore
from support.claims import Published, accepted, claim, claimed, key, token
from support.waiting import eventually


class TroubledDedupStore(MemoryDedupStore):
    """A dedup store whose server fails as told, and that counts its rebuilds."""

    def __init__(self, claims: MemoryClaims) -> None:
        super().__init__(claims)
        self.troubles: list[Exception] = []
        self.rebuilds = 0
        self.open = False

    async def start(self) -> None:
        self.open = True
        if self.troubles:
            raise self.troubles.pop(0)

    async def stop(self) -> None:
        self.open = False

    async def rebuild(
        self, published: AsyncIterable[Claimed | Decisions], expected: int = 0
    ) -> Rebuilt:
        self.rebuilds += 1
        return await super().rebuild(published)


@pytest.fixture
def claims() -> MemoryClaims:
    return MemoryClaims()


@pytest.fixture
def dedup_store(claims: MemoryClaims) -> TroubledDedupStore:
    return TroubledDedupStore(claims)


def nothing() -> Published:
    return Published()


def settled(recovering: RecoveringClaims) -> Callable[[], bool]:
    return lambda: not recovering.recovering


async def test_incomplete_claims_are_rebuilt_before_the_start_is_over(
    dedup_store: TroubledDedupStore,
) -> None:
    published = Published((claimed("p", key("a")),))
    async with RecoveringClaims(dedup_store, lambda: published) as recovering:
        assert dedup_store.rebuilds == 1
        assert accepted(await recovering.claim(claim("twin", key("t", "a")))) == ()
    assert not dedup_store.open


async def test_complete_claims_are_taken_as_they_are(
    claims: MemoryClaims, dedup_store: TroubledDedupStore
) -> None:
    claims.epoch = 1
    async with RecoveringClaims(dedup_store, nothing):
        assert dedup_store.rebuilds == 0


async def test_the_start_waits_for_a_server_that_is_away(dedup_store: TroubledDedupStore) -> None:
    dedup_store.troubles = [Unavailable("no server", retry_after_s=0.001)] * 3
    async with RecoveringClaims(dedup_store, nothing) as recovering:
        assert accepted(await recovering.claim(claim("p", key("a")))) == (token("a"),)


async def test_a_wrong_setting_ends_the_start_and_leaves_nothing_open(
    dedup_store: TroubledDedupStore,
) -> None:
    dedup_store.troubles = [Misconfigured("it may evict")]
    with pytest.raises(Misconfigured):
        async with RecoveringClaims(dedup_store, nothing):
            pass
    assert not dedup_store.open


async def test_lost_claims_are_rebuilt_once_for_all_who_noticed(
    claims: MemoryClaims, dedup_store: TroubledDedupStore
) -> None:
    async with RecoveringClaims(dedup_store, nothing) as recovering:
        claims.empty()
        asked = [recovering.claim(claim(f"p{number}", key("a"))) for number in range(20)]
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(result, StateLost) for result in results)
        await eventually(settled(recovering))
        assert dedup_store.rebuilds == 2
        assert accepted(await recovering.claim(claim("p", key("a")))) == (token("a"),)


async def test_a_claim_fails_at_once_while_claims_are_rebuilt(
    claims: MemoryClaims, dedup_store: TroubledDedupStore
) -> None:
    reading = asyncio.Event()

    async def wait(_: int) -> None:
        await reading.wait()

    slow = Published((claimed("p", key("a")),), wait)
    reading.set()
    async with RecoveringClaims(dedup_store, lambda: slow) as recovering:
        reading.clear()
        claims.empty()
        for _ in range(3):
            with pytest.raises(StateLost) as raised:
                await recovering.claim(claim("q", key("b")))
        assert raised.value.retry_after_s is not None
        assert recovering.recovering
        reading.set()
        await eventually(settled(recovering))
        assert accepted(await recovering.claim(claim("q", key("b")))) == (token("b"),)


async def test_a_rebuild_that_fails_is_tried_again(
    claims: MemoryClaims, dedup_store: TroubledDedupStore
) -> None:
    async with RecoveringClaims(dedup_store, nothing) as recovering:
        claims.empty()
        dedup_store.troubles = [Unavailable("the store is away", retry_after_s=0.001)] * 2
        with pytest.raises(StateLost):
            await recovering.claim(claim("p", key("a")))
        await eventually(settled(recovering))
        assert accepted(await recovering.claim(claim("p", key("a")))) == (token("a"),)


async def test_claims_that_cannot_be_rebuilt_end_the_process(
    claims: MemoryClaims, dedup_store: TroubledDedupStore
) -> None:
    async with RecoveringClaims(dedup_store, nothing) as recovering:
        claims.empty()
        dedup_store.troubles = [Fatal("the table is another cluster's")]
        with pytest.raises(StateLost):
            await recovering.claim(claim("p", key("a")))
        await eventually(settled(recovering))
        for _ in range(2):
            with pytest.raises(Fatal, match="another cluster"):
                await recovering.claim(claim("p", key("a")))


async def test_a_surprise_while_rebuilding_ends_the_process_and_buries_nothing(
    claims: MemoryClaims, dedup_store: TroubledDedupStore
) -> None:
    async with RecoveringClaims(dedup_store, nothing) as recovering:
        claims.empty()
        dedup_store.troubles = [ZeroDivisionError("a fault in a reader")]
        with pytest.raises(StateLost):
            await recovering.claim(claim("p", key("a")))
        await eventually(settled(recovering))
        with pytest.raises(Fatal, match=r"cannot be rebuilt.*a fault in a reader"):
            await recovering.claim(claim("p", key("a")))


async def test_the_end_does_not_wait_for_a_rebuild(
    claims: MemoryClaims, dedup_store: TroubledDedupStore
) -> None:
    async def forever(_: int) -> None:
        await asyncio.Event().wait()

    published = [Published(), Published((claimed("p"),), forever)]
    async with (
        asyncio.timeout(60),
        RecoveringClaims(dedup_store, lambda: published.pop(0)) as recovering,
    ):
        claims.empty()
        with pytest.raises(StateLost):
            await recovering.claim(claim("p", key("a")))
    assert not dedup_store.open


async def test_a_filter_with_nothing_to_decide_notices_lost_claims_and_rebuilds_them(
    claims: MemoryClaims, dedup_store: TroubledDedupStore
) -> None:
    async with RecoveringClaims(dedup_store, nothing, check_s=0.01) as recovering:
        claims.empty()
        await eventually(lambda: dedup_store.rebuilds == 2)
        await eventually(lambda: recovering.usable)


async def test_claims_that_cannot_be_rebuilt_are_not_rebuilt_again_and_again(
    claims: MemoryClaims, dedup_store: TroubledDedupStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks, check = 0, dedup_store.check

    async def counted() -> None:
        nonlocal checks
        checks += 1
        await check()

    async with RecoveringClaims(dedup_store, nothing, check_s=0.01) as recovering:
        monkeypatch.setattr(dedup_store, "check", counted)
        dedup_store.troubles = [Fatal("a column is damaged")]
        claims.empty()
        await eventually(lambda: not dedup_store.troubles)
        seen = checks
        await eventually(lambda: checks > seen + 2)
        assert not recovering.usable
        with pytest.raises(Fatal, match="a column is damaged"):
            await recovering.claim(claim("p", key("a")))


async def test_claims_that_cannot_be_looked_at_are_not_usable_until_they_can(
    dedup_store: TroubledDedupStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def evicting() -> None:
        raise Unavailable("Redis may evict claims")

    async with RecoveringClaims(dedup_store, nothing, check_s=0.01) as recovering:
        assert recovering.usable
        monkeypatch.setattr(dedup_store, "check", evicting)
        await eventually(lambda: not recovering.usable)
        monkeypatch.undo()
        await eventually(lambda: recovering.usable)


def test_the_loss_of_claims_is_noticed_within_a_second() -> None:
    assert CHECK_S < 1.0
