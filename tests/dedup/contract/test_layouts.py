"""Claims in Redis grow into wider layouts, and what does not count any more is unlinked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import redis

from promptmill.dedup.layout import ENTRIES_PER_BUCKET, MIN_BITS, WIDEST
from promptmill.dedup.ports import Claimed, Rebuilt, StateLost
from promptmill.dedup.redis import RedisDedupStore
from promptmill.devstack.redis import RedisServer
from promptmill.runtime.errors import Unavailable
from support.claims import (
    Published,
    accepted,
    block,
    claim,
    claimed,
    is_variant,
    key,
    token,
)
from support.stack import unique_name
from support.waiting import eventually

SMALLEST = 2**MIN_BITS
COMPACT = {b"listpack", b"ziplist"}
LONG_S = 600.0
"""No machine is so slow that a dedup store at work is silent, or an answer late, for so long."""

SHORT_S = 1.0
"""For tests that wait until the only other dedup store, or a failed attempt, counts as dead."""


@asynccontextmanager
async def dedup_stores(
    server: RedisServer, count: int = 1, loader_timeout_s: float = LONG_S
) -> AsyncIterator[list[RedisDedupStore]]:
    namespace = unique_name()
    found = [
        RedisDedupStore(
            server.url,
            namespace,
            expected_records=1,
            timeout_s=LONG_S,
            settle_s=0.0,
            loader_timeout_s=loader_timeout_s,
        )
        for _ in range(count)
    ]
    try:
        for dedup_store in found:
            await dedup_store.start()
        yield found
    finally:
        for dedup_store in found:
            await dedup_store.stop()


def admin(server: RedisServer) -> redis.Redis:
    return redis.Redis.from_url(server.url)


def corpus(size: int) -> list[Claimed]:
    return [claimed(f"p{number}", key(f"r{number}")) for number in range(size)]


def buckets(server: RedisServer, table: str = "d") -> dict[bytes, int]:
    """Entries by bucket, of all generations."""
    client = admin(server)
    return {key: client.hlen(key) for key in client.scan_iter(f"*:{table}:*", count=10_000)}


def encodings(server: RedisServer) -> set[bytes]:
    """How the server keeps the buckets in its memory."""
    client = admin(server)
    return {
        client.object("encoding", bucket) for table in "dc" for bucket in buckets(server, table)
    }


def generations(server: RedisServer) -> set[bytes]:
    return {key.rsplit(b":", 2)[0] for table in "dcsb" for key in buckets(server, table)}


async def test_the_layout_suits_what_is_published(shared: RedisServer) -> None:
    async with dedup_stores(shared) as (dedup_store,):
        many = SMALLEST * ENTRIES_PER_BUCKET * 2
        await dedup_store.rebuild(Published((block(*corpus(300)),)), many)
        await dedup_store.check()
        assert len(buckets(shared)) > 150
        assert dedup_store.per_bucket < 3


async def test_outgrown_claims_are_rebuilt_into_more_buckets(shared: RedisServer) -> None:
    published = corpus(SMALLEST * (WIDEST + 20))
    async with dedup_stores(shared, 2) as (one, two):
        await one.rebuild(Published((block(*published),)))
        await two.claim(claim("new", key("n")))
        assert max(buckets(shared).values()) > WIDEST
        assert encodings(shared) <= COMPACT, "they are still compact when they are outgrown"
        await one.check()
        assert one.per_bucket > WIDEST
        for dedup_store in (one, two):
            with pytest.raises(StateLost):
                await dedup_store.claim(claim("q", key("q")))
            with pytest.raises(StateLost):
                await dedup_store.check()
        await one.rebuild(Published((block(*published),)))
        await asyncio.gather(one.check(), two.check())
        assert one.per_bucket < WIDEST / 2
        assert len(generations(shared)) == 1
        assert is_variant(await one.claim(claim("new", key("x"), decision="second")))
        assert accepted(await two.claim(claim("twin", key("t", "r7")))) == ()


async def test_claims_outgrow_their_layout_once(shared: RedisServer) -> None:
    published = block(*corpus(SMALLEST * (WIDEST + 20)))
    async with dedup_stores(shared) as (dedup_store,):
        await dedup_store.rebuild(Published((published,)))
        await dedup_store.check()
        await dedup_store.rebuild(Published((published,)))
        for _ in range(3):
            await dedup_store.check()
        assert accepted(await dedup_store.claim(claim("new", key("n")))) == (token("n"),)


async def test_claims_of_the_version_without_generations_are_rebuilt(shared: RedisServer) -> None:
    async with dedup_stores(shared) as (dedup_store,):
        state = dedup_store._state.key
        old, client = state.decode().removesuffix("state"), admin(shared)
        identity = ":".join(dedup_store._session.identity.token.decode().split(":")[:4])  # type: ignore[union-attr]
        client.hset(state, mapping={"epoch": "e", "server": identity, "bits": 8})
        client.hset(f"{old}d:7f", "field", "value")
        client.hset(f"{old}c:0", "field", "value")
        assert not await dedup_store.is_complete()
        await dedup_store.rebuild(Published((claimed("p", key("a")),)))
        assert accepted(await dedup_store.claim(claim("twin", key("t", "a")))) == ()
        assert not client.exists(f"{old}d:7f", f"{old}c:0")


async def test_what_is_no_longer_published_is_gone_after_a_restart(
    own_server: RedisServer,
) -> None:
    async with dedup_stores(own_server) as (dedup_store,):
        await dedup_store.rebuild(Published((block(*corpus(100)),)))
        admin(own_server).save()
        own_server.kill()
        own_server.start()
        own_server.wait_ready()
        assert len(buckets(own_server)) > 50
        with pytest.raises(Unavailable):
            await dedup_store.check()
        await dedup_store.rebuild(Published((claimed("p", key("a")),)))
        assert len(buckets(own_server)) == 1
        assert accepted(await dedup_store.claim(claim("p7", key("t", "r7")))) == (token("t"),)


async def test_one_filter_loads_and_the_others_wait_for_it(shared: RedisServer) -> None:
    blocks = tuple(block(*corpus(2_000)[at : at + 500]) for at in range(0, 2_000, 500))
    async with dedup_stores(shared, 3) as found:
        told = [Published(blocks) for _ in found]
        rebuilt = await asyncio.gather(
            *(dedup_store.rebuild(each) for dedup_store, each in zip(found, told, strict=True))
        )
        assert sorted(each.claims for each in rebuilt) == [0, 0, 2_000]
        assert sorted(each.read for each in told) == [0, 0, 4]
        for dedup_store in found:
            assert accepted(await dedup_store.claim(claim("twin", key("t", "r1999")))) == ()


async def test_a_loader_that_died_is_replaced_and_leaves_nothing(shared: RedisServer) -> None:
    async with dedup_stores(shared, 2, SHORT_S) as (dead, other):
        begun, never = asyncio.Event(), asyncio.Event()

        async def hang(number: int) -> None:
            if number == 2:
                begun.set()
                await never.wait()

        blocks = (block(*corpus(300)), block(*corpus(600)[300:]), block(claimed("z", key("z"))))
        dying = asyncio.create_task(dead.rebuild(Published(blocks, hang)))
        await eventually(lambda: begun.is_set() or dying.done())
        await eventually(lambda: bool(buckets(shared)), because="the first block was loaded")
        while not dying.done():  # wait_for of Python 3.11 can swallow a cancellation
            dying.cancel()
            await asyncio.wait([dying], timeout=0.1)
        assert await other.rebuild(Published((block(*corpus(50)),))) == Rebuilt(50, 0)
        assert len(generations(shared)) == 1
        assert sum(buckets(shared).values()) == 50


async def test_a_loader_with_a_long_step_says_that_it_is_at_work(shared: RedisServer) -> None:
    async with dedup_stores(shared, loader_timeout_s=SHORT_S) as (dedup_store,):

        def state() -> object:
            return admin(shared).hgetall(dedup_store._state.key)

        async def wait_for_beat(_: int) -> None:
            before = state()
            await eventually(lambda: state() != before, because="it has said so again")

        published = Published((block(claimed("p", key("a"))),), wait_for_beat)
        assert await dedup_store.rebuild(published) == Rebuilt(1, 0)


async def test_what_an_overtaken_loader_writes_is_never_read(shared: RedisServer) -> None:
    async with dedup_stores(shared, 2, SHORT_S) as (slow, fast):
        slow._stall_s = 0.0
        blocks = (block(claimed("p", key("old", "same"))), block(claimed("q", key("b"))))

        async def overtake(number: int) -> None:
            if number == 1:
                await fast.rebuild(Published((claimed("p", key("new"), decision="second"),)))

        await slow.rebuild(Published(blocks, overtake))
        assert is_variant(await slow.claim(claim("p", key("old", "same"))))
        assert accepted(await fast.claim(claim("q", key("c")))) == (token("c"),)
        assert len(generations(shared)) == 1


async def test_blocks_that_contradict_each_other_are_merged(shared: RedisServer) -> None:
    async with dedup_stores(shared) as (dedup_store,):
        late = claimed("p", key("late"), decision="second", replays=1)
        blocks = (
            block(*corpus(300), late, claimed("a", key("a1"))),
            block(*(corpus(600)[300:]), claimed("p", key("early")), claimed("a", key("a2"))),
            block(claimed("a", key("a3", "r7"), decision="second")),
        )
        assert (await dedup_store.rebuild(Published(blocks))).conflicts == 2
        assert is_variant(await dedup_store.claim(claim("p", key("early"))))
        both = await dedup_store.claim(claim("a", key("a1"), key("a2"), limit=2))
        assert sorted(accepted(both)) == sorted((token("a1"), token("a2")))


async def test_a_full_server_ends_a_rebuild_in_blocks(own_server: RedisServer) -> None:
    async with dedup_stores(own_server, loader_timeout_s=SHORT_S) as (dedup_store,):
        admin(own_server).config_set("maxmemory", 1)
        with pytest.raises(Unavailable, match="maxmemory"):
            await dedup_store.rebuild(Published((block(*corpus(100)),)))
        admin(own_server).config_set("maxmemory", 0)
        assert not await dedup_store.is_complete()
        await dedup_store.rebuild(Published((block(*corpus(100)),)))
        assert accepted(await dedup_store.claim(claim("twin", key("t", "r7")))) == ()


async def test_claims_on_their_way_are_handed_to_the_filter_that_loads(
    shared: RedisServer,
) -> None:
    async with dedup_stores(shared, 2) as (one, two):
        await one.rebuild(Published())
        await two.claim(claim("p", key("a", "in flight")))
        admin(shared).flushall()
        waiting: list[asyncio.Task[Rebuilt]] = []

        async def hand(number: int) -> None:
            if number == 0:
                waiting.append(asyncio.create_task(two.rebuild(Published())))
                await eventually(lambda: bool(buckets(shared)), because="the claim was handed over")

        await one.rebuild(Published((block(*corpus(10)),), hand))
        assert accepted(await one.claim(claim("twin", key("t", "in flight")))) == ()
        assert (await waiting[0]).claims == 0
