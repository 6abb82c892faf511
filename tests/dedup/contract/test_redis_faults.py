"""What a Redis can do to its claims: restart, fail over, hang, fill up, refuse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from uuid import uuid4

import pytest
import redis

from promptmill.dedup.layout import state_key
from promptmill.dedup.near import SketchForm, sketch
from promptmill.dedup.ports import StateLost
from promptmill.dedup.redis import RedisDedupStore
from promptmill.devstack.ports import LOOPBACK, free_port
from promptmill.devstack.redis import RedisServer
from promptmill.filter.recovery import RecoveringClaims
from promptmill.runtime.errors import Misconfigured, Unavailable
from support.claims import Published, accepted, claim, claimed, key, token
from support.stack import unique_name
from support.waiting import PATIENCE_S, eventually

pytestmark = pytest.mark.real

IMPATIENT_S = 2.0
"""How long a dedup store waits for an answer of a server that is frozen until it has given up."""

LONG_S = 600.0
"""No machine is so slow that an answer takes so long."""


@asynccontextmanager
async def dedup_store_on(
    url: str, namespace: str = "", timeout_s: float = LONG_S
) -> AsyncIterator[RedisDedupStore]:
    dedup_store = RedisDedupStore(
        url, namespace or unique_name(), timeout_s=timeout_s, settle_s=0.0
    )
    await dedup_store.start()
    try:
        yield dedup_store
    finally:
        await dedup_store.stop()


@asynccontextmanager
async def sketching_on(
    url: str, namespace: str, form: SketchForm
) -> AsyncIterator[RedisDedupStore]:
    dedup_store = RedisDedupStore(url, namespace, sketches=form, timeout_s=LONG_S, settle_s=0.0)
    await dedup_store.start()
    try:
        yield dedup_store
    finally:
        await dedup_store.stop()


def admin(server: RedisServer) -> redis.Redis:
    return redis.Redis.from_url(server.url)


async def test_a_forgotten_script_is_loaded_again(shared: RedisServer) -> None:
    async with dedup_store_on(shared.url) as dedup_store:
        await dedup_store.rebuild(Published())
        with admin(shared) as client:
            client.script_flush()
        assert accepted(await dedup_store.claim(claim("p", key("a")))) == (token("a"),)


async def test_a_connection_that_the_server_closed_is_replaced(shared: RedisServer) -> None:
    async with dedup_store_on(shared.url) as dedup_store:
        await dedup_store.rebuild(Published())
        with admin(shared) as client:
            client.client_kill_filter(_type="normal", skipme=True)
        assert accepted(await dedup_store.claim(claim("p", key("a")))) == (token("a"),)


async def test_a_restarted_server_is_rebuilt_although_it_kept_its_data(
    own_server: RedisServer,
) -> None:
    async with dedup_store_on(own_server.url) as dedup_store:
        await dedup_store.rebuild(Published())
        await dedup_store.claim(claim("p", key("a", "shared")))
        own_server.restart()
        with pytest.raises(StateLost, match="restarted or failed over"):
            await dedup_store.claim(claim("q", key("b")))
        await dedup_store.rebuild(Published((claimed("lagging", key("c", "late")),)))
        assert accepted(await dedup_store.claim(claim("twin", key("t", "late")))) == ()
        assert accepted(await dedup_store.claim(claim("twin of p", key("u", "shared")))) == ()


async def test_nobody_trusts_a_restarted_server_while_it_is_being_rebuilt(
    own_server: RedisServer,
) -> None:
    async with dedup_store_on(own_server.url, "data") as dedup_store:
        await dedup_store.rebuild(Published())
    own_server.restart()
    async with (
        dedup_store_on(own_server.url, "data") as one,
        dedup_store_on(own_server.url, "data") as other,
    ):

        async def ask(_: int) -> None:
            assert not await other.is_complete()
            with pytest.raises(StateLost, match="being rebuilt"):
                await other.claim(claim("p", key("a")))

        assert (await one.rebuild(Published((claimed("q", key("b")),), ask))).claims == 1
        assert accepted(await other.claim(claim("p", key("a")))) == (token("a"),)


async def test_a_new_dedup_store_does_not_trust_a_restarted_server(own_server: RedisServer) -> None:
    async with dedup_store_on(own_server.url, "data") as dedup_store:
        await dedup_store.rebuild(Published())
    own_server.restart()
    async with dedup_store_on(own_server.url, "data") as dedup_store:
        assert not await dedup_store.is_complete()


async def test_a_replica_that_took_over_is_rebuilt(
    own_server: RedisServer, replica: RedisServer
) -> None:
    async with dedup_store_on(own_server.url, "data") as dedup_store:
        await dedup_store.rebuild(Published())
        await dedup_store.claim(claim("p", key("a")))
        with admin(own_server) as client:
            client.config_set("repl-diskless-sync-delay", "0")
        with admin(replica) as client:
            client.replicaof(LOOPBACK, str(own_server.port))
            await eventually(lambda: client.exists("{data}:state"))
            client.replicaof("NO", "ONE")
    async with dedup_store_on(replica.url, "data") as dedup_store:
        with pytest.raises(StateLost, match="restarted or failed over"):
            await dedup_store.claim(claim("q", key("b")))
        await dedup_store.rebuild(Published((claimed("p", key("a")),)))
        assert accepted(await dedup_store.claim(claim("twin", key("t", "a")))) == ()


async def test_a_primary_that_became_a_replica_decides_nothing(
    own_server: RedisServer, replica: RedisServer
) -> None:
    async with dedup_store_on(own_server.url) as dedup_store:
        await dedup_store.rebuild(Published())
        with admin(own_server) as client:
            client.replicaof(LOOPBACK, str(replica.port))
        with pytest.raises(Unavailable):
            await dedup_store.claim(claim("p", key("a")))


async def test_a_primary_that_was_a_replica_in_between_is_rebuilt(
    own_server: RedisServer, replica: RedisServer
) -> None:
    async with dedup_store_on(own_server.url) as dedup_store:
        await dedup_store.rebuild(Published())
        with admin(own_server) as client:
            client.replicaof(LOOPBACK, str(replica.port))
            with pytest.raises(Unavailable):
                await dedup_store.claim(claim("p", key("a")))
            client.replicaof("NO", "ONE")
        with pytest.raises(StateLost):
            await dedup_store.claim(claim("p", key("a")))


async def attach(primary: RedisServer, replica: RedisServer) -> None:
    """Make ``replica`` a replica of ``primary``, whose replication id changes by that."""
    with admin(primary) as client, admin(replica) as follower:
        before = client.info("replication")["master_replid"]
        client.config_set("repl-diskless-sync-delay", "0")
        follower.replicaof(LOOPBACK, str(primary.port))
        await eventually(lambda: client.info("replication")["connected_slaves"] == 1)
        assert client.info("replication")["master_replid"] != before


async def test_the_first_replica_that_attaches_costs_no_rebuild(
    own_server: RedisServer, replica: RedisServer
) -> None:
    async with (
        dedup_store_on(own_server.url, "data") as old,
        dedup_store_on(own_server.url, "data") as idle,
    ):
        await old.rebuild(Published())
        await old.claim(claim("p", key("a", "shared")))
        await idle.check()
        await attach(own_server, replica)
        await old.check()
        async with dedup_store_on(own_server.url, "data") as new:
            for dedup_store in (new, idle, old):
                await dedup_store.check()
                assert accepted(await dedup_store.claim(claim("twin", key("t", "shared")))) == ()


async def test_filters_from_before_and_after_a_replica_attached_both_decide(
    own_server: RedisServer, replica: RedisServer
) -> None:
    dedup_stores = [RedisDedupStore(own_server.url, "data", settle_s=0.0) for _ in range(2)]
    one, two = (
        RecoveringClaims(dedup_store, Published, check_s=0.1) for dedup_store in dedup_stores
    )
    async with one:
        epoch = epoch_of(own_server)
        await attach(own_server, replica)
        async with two:
            for number in range(200):
                await one.claim(claim(f"a{number}", key(f"a{number}")))
                await two.claim(claim(f"b{number}", key(f"b{number}")))
    assert epoch_of(own_server) == epoch


def epoch_of(server: RedisServer) -> object:
    """Another one after each rebuild."""
    with admin(server) as client:
        return client.hget("{data}:state", "epoch")


async def test_a_change_that_no_dedup_store_observed_is_settled_by_one_rebuild(
    own_server: RedisServer, replica: RedisServer
) -> None:
    async with dedup_store_on(own_server.url, "data") as dedup_store:
        await dedup_store.rebuild(Published())
    await attach(own_server, replica)
    async with (
        dedup_store_on(own_server.url, "data") as one,
        dedup_store_on(own_server.url, "data") as two,
    ):
        assert not await one.is_complete()
        await one.rebuild(Published())
        for dedup_store in (two, one):
            await dedup_store.check()


async def test_data_of_another_server_is_noticed_behind_a_standing_connection(
    own_server: RedisServer, replica: RedisServer
) -> None:
    """The replica has an old copy, with the same epoch; no command was refused in between."""
    async with dedup_store_on(own_server.url, "data") as dedup_store:
        await dedup_store.rebuild(Published())
        await attach(own_server, replica)
        await dedup_store.check()
        with admin(own_server) as client, admin(replica) as copy:
            await eventually(lambda: copy.exists("{data}:state"))
            copy.replicaof("NO", "ONE")
            await dedup_store.claim(claim("p", key("a")))
            client.replicaof(LOOPBACK, str(replica.port))
            await eventually(lambda: client.info("replication")["master_link_status"] == "up")
            client.replicaof("NO", "ONE")
        with pytest.raises(StateLost, match="failed over"):
            await dedup_store.check()


async def test_an_idle_dedup_store_notices_that_its_claims_are_lost(
    own_server: RedisServer,
) -> None:
    async with dedup_store_on(own_server.url) as dedup_store:
        await dedup_store.rebuild(Published())
        await dedup_store.check()
        with admin(own_server) as client:
            client.flushall()
        with pytest.raises(StateLost):
            await dedup_store.check()


async def test_a_policy_that_evicts_claims_is_noticed_and_refused_until_it_is_mended(
    own_server: RedisServer,
) -> None:
    async with dedup_store_on(own_server.url) as dedup_store:
        await dedup_store.rebuild(Published())
        await dedup_store.claim(claim("p", key("a")))
        with admin(own_server) as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
            for attempt in (dedup_store.check(), dedup_store.claim(claim("p", key("a")))):
                with pytest.raises(Unavailable, match=r"allkeys-lru.*set it to noeviction"):
                    await attempt
            client.config_set("maxmemory-policy", "noeviction")
        await dedup_store.check()
        assert accepted(await dedup_store.claim(claim("p", key("a")))) == (token("a"),)


@pytest.mark.parametrize("seen", [True, False], ids=["seen", "unseen"])
async def test_claims_that_may_have_been_evicted_are_rebuilt(
    own_server: RedisServer, seen: bool
) -> None:
    async with dedup_store_on(own_server.url) as dedup_store:
        await dedup_store.rebuild(Published())
        await dedup_store.claim(claim("p", key("a")))
        with admin(own_server) as client:
            client.config_set("maxmemory-policy", "allkeys-random")
            if seen:
                with pytest.raises(Unavailable):
                    await dedup_store.check()
            evict_something(client)
            client.config_set("maxmemory-policy", "noeviction")
        with pytest.raises(StateLost, match=r"evicted|are not there"):
            await dedup_store.check()
        await dedup_store.rebuild(Published())
        assert accepted(await dedup_store.claim(claim("p", key("a")))) == (token("a"),)


async def test_keys_of_others_that_expire_may_be_evicted(own_server: RedisServer) -> None:
    with admin(own_server) as client:
        client.config_set("maxmemory-policy", "volatile-lru")
        async with dedup_store_on(own_server.url) as dedup_store:
            await dedup_store.rebuild(Published())
            evict_something(client, expire_s=1000)
            await dedup_store.check()
            assert accepted(await dedup_store.claim(claim("p", key("a")))) == (token("a"),)


def evict_something(client: redis.Redis, expire_s: int | None = None) -> None:
    """Fill the server until it has evicted keys, most likely fillers; then give it room again."""
    for _ in range(300):
        client.set(f"filler:{uuid4()}", b"x" * 10_000, ex=expire_s)
    before = client.info("stats")["evicted_keys"]
    client.config_set("maxmemory", client.info("memory")["used_memory"])
    while client.info("stats")["evicted_keys"] == before:
        with suppress(redis.exceptions.ResponseError):
            client.set(f"filler:{uuid4()}", b"x" * 10_000, ex=expire_s)
    client.config_set("maxmemory", 0)


async def test_a_server_that_is_down_is_unavailable_and_then_back(own_server: RedisServer) -> None:
    async with dedup_store_on(own_server.url) as dedup_store:
        await dedup_store.rebuild(Published())
        own_server.kill()
        with pytest.raises(Unavailable) as raised:
            await dedup_store.claim(claim("p", key("a")))
        assert raised.value.retry_after_s is not None
        own_server.restart()
        await dedup_store.rebuild(Published())
        assert accepted(await dedup_store.claim(claim("p", key("a")))) == (token("a"),)


async def test_a_frozen_server_is_unavailable_in_bounded_time(own_server: RedisServer) -> None:
    async with dedup_store_on(own_server.url, timeout_s=IMPATIENT_S) as dedup_store:
        await dedup_store.rebuild(Published())
        own_server.pause()
        async with asyncio.timeout(PATIENCE_S):  # it stays frozen for as long as it is asked
            with pytest.raises(Unavailable, match="does not answer"):
                await dedup_store.claim(claim("p", key("a")))
        own_server.resume()
        assert accepted(await dedup_store.claim(claim("p", key("a")))) == (token("a"),)


async def test_a_claim_whose_answer_was_lost_is_asked_again_safely(own_server: RedisServer) -> None:
    async with dedup_store_on(own_server.url, timeout_s=IMPATIENT_S) as dedup_store:
        await dedup_store.rebuild(Published())
        asked = claim("p", key("a"), key("b"))
        own_server.pause()
        with pytest.raises(Unavailable):
            await dedup_store.claim(asked)
        own_server.resume()  # the frozen server had received the claim, and decides it now
        verdicts = [await dedup_store.claim(asked) for _ in range(2)]
        assert [accepted(verdict) for verdict in verdicts] == [(token("a"),)] * 2


async def test_no_server_is_unavailable_at_the_start() -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        async with dedup_store_on(f"redis://{LOOPBACK}:{free_port()}/0"):
            pass


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random"])
async def test_a_server_that_may_evict_claims_is_refused_with_a_remedy(
    own_server: RedisServer, policy: str
) -> None:
    with admin(own_server) as client:
        client.config_set("maxmemory-policy", policy)
    with pytest.raises(Misconfigured, match=rf"{policy}.*set it to noeviction"):
        async with dedup_store_on(own_server.url):
            pass


@pytest.mark.parametrize(
    ("setting", "wrong", "right", "remedy"),
    [
        ("maxmemory", "1kb", "0", "raise maxmemory"),
        ("min-replicas-to-write", "1", "0", r"NOREPLICAS.*start its replicas"),
    ],
)
async def test_a_server_that_takes_no_writes_decides_nothing_and_is_waited_for(
    own_server: RedisServer, setting: str, wrong: str, right: str, remedy: str
) -> None:
    async with dedup_store_on(own_server.url) as dedup_store:
        await dedup_store.rebuild(Published())
        with admin(own_server) as client:
            client.config_set(setting, wrong)
            with pytest.raises(Unavailable, match=remedy):
                await dedup_store.claim(claim("p", key("a")))
            client.config_set(setting, right)
        assert accepted(await dedup_store.claim(claim("p", key("b")))) == (token("b"),)


async def test_a_loader_from_before_the_clock_was_set_back_is_not_waited_for(
    shared: RedisServer,
) -> None:
    async def die(_number: int) -> None:
        raise RuntimeError("the loader dies")

    namespace = unique_name()
    async with dedup_store_on(shared.url, namespace) as dedup_store:
        with pytest.raises(RuntimeError):
            await dedup_store.rebuild(Published((claimed("p", key("a")),), die))
        with admin(shared) as client:
            state = state_key(namespace)
            (field,) = [f for f in client.hgetall(state) if f.startswith(b"loader:")]
            since, bits, heard = client.hget(state, field).split()
            client.hset(state, field, b"%s %s %d" % (since, bits, int(heard) + 3_600_000))
        async with asyncio.timeout(PATIENCE_S):
            await dedup_store.rebuild(Published())


async def test_sketches_of_another_form_are_loaded_anew(shared: RedisServer) -> None:
    namespace, similar = unique_name(), 0.8
    text = "some words of an answer that is long enough to have a sketch of its own, of course"
    one, two = (replace(key(name), sketch=sketch("why", text)) for name in ("one", "two"))
    async with sketching_on(shared.url, namespace, "folded") as folding:
        await folding.rebuild(Published())
        async with sketching_on(shared.url, namespace, "exact") as exact:
            assert not await exact.is_complete()
            await exact.rebuild(Published((claimed("p", one),)))
            twin = replace(claim("q", two), similarity=similar)
            assert accepted(await exact.claim(twin)) == ()
            assert not await folding.is_complete()
            with pytest.raises(StateLost, match="another form"):
                await folding.claim(twin)


async def test_claims_handed_to_a_loader_of_another_form_have_no_sketches(
    shared: RedisServer,
) -> None:
    namespace = unique_name()
    long = sketch("why", "an answer in words " * 10)
    one, other = (replace(key(name), sketch=long) for name in ("one", "other"))
    async with (
        sketching_on(shared.url, namespace, "folded") as folding,
        sketching_on(shared.url, namespace, "exact") as exact,
    ):
        await folding.rebuild(Published())
        await folding.claim(replace(claim("p", one), similarity=0.8))

        async def wait_for_the_other(_number: int) -> None:
            handing = asyncio.create_task(folding.rebuild(Published()))
            with admin(shared) as client:
                await eventually(lambda: int(client.hget(state_key(namespace), "unsketched")) > 0)
            handing.cancel()
            await asyncio.gather(handing, return_exceptions=True)

        with pytest.raises(StateLost, match="without a sketch"):
            await exact.rebuild(Published((claimed("q", other),), wait_for_the_other))


async def test_a_wrong_password_is_a_wrong_setting(own_server: RedisServer) -> None:
    with admin(own_server) as client:
        client.config_set("requirepass", "secret")
    with pytest.raises(Misconfigured, match="set user and password") as raised:
        async with dedup_store_on(own_server.url.replace("//", "//:wrong@")):
            pass
    assert "wrong@" not in str(raised.value)
    async with dedup_store_on(own_server.url.replace("//", "//:secret@")) as dedup_store:
        await dedup_store.rebuild(Published())


@pytest.mark.parametrize("url", ["http://localhost", "localhost:6379"])
async def test_a_wrong_url_is_a_wrong_setting(url: str) -> None:
    with pytest.raises(Misconfigured, match="redis://host:port/db"):
        async with dedup_store_on(url):
            pass


async def test_a_namespace_that_would_break_the_hash_tag_is_refused() -> None:
    with pytest.raises(Misconfigured, match="namespace"):
        RedisDedupStore("redis://localhost", "a}b")


async def test_namespaces_on_one_server_do_not_meet(shared: RedisServer) -> None:
    async with dedup_store_on(shared.url, "one") as one, dedup_store_on(shared.url, "two") as two:
        await asyncio.gather(one.rebuild(Published()), two.rebuild(Published()))
        verdicts = [
            await dedup_store.claim(claim("p", key("a", "same"))) for dedup_store in (one, two)
        ]
        assert [accepted(verdict) for verdict in verdicts] == [(token("a"),)] * 2


async def test_claims_stay_compact(shared: RedisServer) -> None:
    """About 60 bytes for an accepted prompt: its decision and the owner of its content."""
    size = 20_000
    dedup_store = RedisDedupStore(shared.url, "compact", expected_records=size, settle_s=0.0)
    try:
        await dedup_store.rebuild(Published())
        with admin(shared) as client:
            for start in range(0, size, 500):
                asked = [claim(f"p{n}", key(f"r{n}")) for n in range(start, start + 500)]
                await asyncio.gather(*map(dedup_store.claim, asked))
            buckets = client.keys("{compact}:*:[cd]:*")
            sizes = [client.memory_usage(bucket, samples=0) for bucket in buckets]
            kinds = {client.object("encoding", bucket) for bucket in buckets}
    finally:
        await dedup_store.stop()
    assert kinds <= {b"listpack", b"ziplist"}
    assert 50 < sum(sizes) / size < 70
