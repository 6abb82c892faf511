"""Claims a second and bytes a claim, beside what the same Redis does with plain pipelined SETs.

A claim decides about a prompt and its content, atomically, in one round trip; the ceiling is two
``SET key value NX`` for each, in pipelines of the same depth, which decide nothing. They take
turns in one run, because machines are noisy.

A rebuild in bulk is measured against the bare transfer of the same bytes: the same multi-field
``HSET``s, packed before the clock starts, which look at nothing and are not fenced.

``--memory`` tells the bytes a record from 0.2 to 10 times the expected records.

    python tests/bench/bench_claims.py --claims 200000 --json
    python tests/bench/bench_claims.py --claims 50000 --sketches
    python tests/bench/bench_claims.py --memory
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import redis.asyncio
import uvloop

sys.path.insert(0, str(Path(__file__).parent.parent))

from promptmill.dedup.bulk import SeenKeys, plan
from promptmill.dedup.layout import KeyLayout, bits_for
from promptmill.dedup.near import BAND_BYTES, BANDS, SIGNATURE_BYTES, Sketch
from promptmill.dedup.ports import Claim, Claimed, Decisions, RecordKey
from promptmill.dedup.redis import RedisDedupStore
from promptmill.dedup.session import Session
from promptmill.dedup.state import BATCH
from promptmill.devstack.ports import free_port
from promptmill.devstack.redis import RedisServer
from promptmill.filter.published import BLOCK_ROWS
from promptmill.runtime.memory import tune_garbage_collection
from promptmill_schemas.ids import digest
from support.claims import Published, block

POLICY = "bench@1"
SIMILARITY = 0.8
SHRINK_S = 2.0


def make_claims(count: int, *, sketches: bool) -> list[Claim]:
    return [
        Claim(
            digest("prompt", number),
            digest("decision", number),
            POLICY,
            (_record(number, sketches=sketches),),
            similarity=SIMILARITY if sketches else None,
        )
        for number in range(count)
    ]


def _record(number: int, *, sketches: bool) -> RecordKey:
    """A record; its sketch is random bytes, so that no two are nearly equal."""
    chance = random.Random(number)
    return RecordKey(
        digest("record", number),
        digest("content", number),
        Sketch(chance.randbytes(BANDS * BAND_BYTES), chance.randbytes(SIGNATURE_BYTES))
        if sketches
        else None,
    )


async def claim_all(dedup_store: RedisDedupStore, claims: list[Claim], in_flight: int) -> float:
    """Claims a second with so many callers."""
    waiting = iter(claims)

    async def caller() -> None:
        for claim in waiting:
            await dedup_store.claim(claim)

    return await _rate(len(claims), lambda: asyncio.gather(*(caller() for _ in range(in_flight))))


async def set_all(client: redis.asyncio.Redis, claims: list[Claim]) -> float:
    """Pairs of SETs a second, in pipelines as deep as a batch of claims."""

    async def write() -> None:
        for start in range(0, len(claims), BATCH):
            async with client.pipeline(transaction=False) as pipe:
                for claim in claims[start : start + BATCH]:
                    pipe.set(f"p:{claim.prompt_id}", bytes.fromhex(claim.decision_id), nx=True)
                    record = claim.options[0]
                    pipe.set(f"c:{record.content}", bytes.fromhex(record.record_id), nx=True)
                await pipe.execute()

    return await _rate(len(claims), write)


async def hset_all(url: str, blocks: tuple[Decisions, ...], count: int) -> float:
    """Decisions a second of bare ``HSET``s: what a rebuild in blocks writes."""
    layout, seen = KeyLayout("bare", bits_for(count), "bare"), SeenKeys.for_records(count)
    chunks = [chunk for each in blocks for chunk in plan(layout, each, seen).chunks]
    session = await Session.open(url, 10.0)

    async def write() -> None:
        for chunk in chunks:
            await session.send(chunk.commands, chunk.replies)

    try:
        return await _rate(count, write)
    finally:
        await session.close()


def make_blocks(claims: list[Claim]) -> tuple[Decisions, ...]:
    published = [_published(claim) for claim in claims]
    return tuple(
        block(*published[start : start + BLOCK_ROWS]) for start in range(0, len(claims), BLOCK_ROWS)
    )


def random_block(count: int) -> Decisions:
    """Decisions with one record each."""
    chance = np.random.default_rng(count)
    prompts, decisions, records, contents = (
        chance.integers(0, 256, (count, 16), dtype=np.uint8) for _ in range(4)
    )
    return Decisions(
        prompts,
        decisions,
        (POLICY,),
        np.zeros(count, np.intp),
        np.zeros(count, np.int64),
        (records, contents),
    )


async def used_memory(client: redis.asyncio.Redis) -> int:
    """Bytes in use, once what was unlinked has been freed and buffers have shrunk."""
    while (await client.info("memory"))["lazyfree_pending_objects"]:  # noqa: ASYNC110 - polled
        await asyncio.sleep(0.1)
    await client.script_flush()
    await asyncio.sleep(SHRINK_S)
    return int((await client.info("memory"))["used_memory"])


async def memory(url: str, expected: int) -> dict[str, float]:
    """Bytes a record and entries a bucket, when more and more records are claimed than expected."""
    found = {}
    for factor in (0.2, 0.5, 1, 2, 3, 4, 6, 8, 10):
        count = int(factor * expected)
        blocks = (random_block(count),)
        async with redis.asyncio.Redis.from_url(url) as client:
            await client.flushall()
            empty = await used_memory(client)
            dedup_store = RedisDedupStore(
                url, uuid.uuid4().hex, expected_records=expected, settle_s=0.0
            )
            try:
                await dedup_store.rebuild(Published(blocks))
                await dedup_store.check()  # claims that have outgrown their layout are lost now
                if not await dedup_store.is_complete():
                    await dedup_store.rebuild(Published(blocks))
                await dedup_store.check()
            finally:
                await dedup_store.stop()
            found[f"bytes_at_{factor}"] = (await used_memory(client) - empty) / count
        found[f"per_bucket_at_{factor}"] = dedup_store.per_bucket
    return found


async def load_all(url: str, claims: list[Claim], blocks: tuple[Decisions, ...]) -> float:
    """Decisions a second of a rebuild in blocks."""
    dedup_store = open_dedup_store(url, claims)
    try:
        return await _rate(len(claims), lambda: dedup_store.rebuild(Published(blocks), len(claims)))
    finally:
        await dedup_store.stop()


async def _rate(count: int, run: Callable[[], Awaitable[object]]) -> float:
    begun = time.perf_counter()
    await run()
    return count / (time.perf_counter() - begun)


def open_dedup_store(url: str, claims: list[Claim]) -> RedisDedupStore:
    return RedisDedupStore(
        url,
        uuid.uuid4().hex,
        expected_records=len(claims),
        sketches=None if claims[0].similarity is None else "folded",
        settle_s=0.0,
    )


async def one_round(url: str, claims: list[Claim], in_flight: int) -> dict[str, float]:
    async with redis.asyncio.Redis.from_url(url) as client:
        await client.flushall()
        empty = (await client.info("memory"))["used_memory"]
        sets = await set_all(client, claims)
        set_bytes = ((await client.info("memory"))["used_memory"] - empty) / len(claims)
        await client.flushall()
        await client.config_resetstat()

        dedup_store = open_dedup_store(url, claims)
        await dedup_store.start()
        await dedup_store.rebuild(Published())
        first = await claim_all(dedup_store, claims, in_flight)
        used = (await client.info("memory"))["used_memory"] - empty
        calls = (await client.info("commandstats"))["cmdstat_evalsha"]
        again = await claim_all(dedup_store, claims, in_flight)
        await dedup_store.stop()

        await client.flushall()
        dedup_store = open_dedup_store(url, claims)
        published = Published(tuple(_published(claim) for claim in claims))
        load = await _rate(len(claims), lambda: dedup_store.rebuild(published))
        await dedup_store.stop()

        await client.flushall()
        blocks = make_blocks(claims)
        hsets = await hset_all(url, blocks, len(claims))
        await client.flushall()
        bulk = await load_all(url, claims, blocks)
    return {
        "claims_per_s": first,
        "replays_per_s": again,
        "rebuild_one_by_one_per_s": load,
        "rebuild_per_s": bulk,
        "bare_hsets_per_s": hsets,
        "rebuild_ratio_to_hsets": bulk / hsets,
        "set_pairs_per_s": sets,
        "ratio_to_sets": first / sets,
        "server_us_per_claim": calls["usec"] / len(claims),
        "bytes_per_claim": used / len(claims),
        "bytes_per_set_pair": set_bytes,
    }


def _published(claim: Claim) -> Claimed:
    return Claimed(claim.prompt_id, claim.decision_id, claim.policy, claim.options)


async def measure(url: str, args: argparse.Namespace) -> dict[str, Any]:
    if args.memory:
        return await memory(url, args.expected)
    claims = make_claims(args.claims, sketches=args.sketches)
    rounds = []
    for number in range(args.rounds):
        rounds.append(await one_round(url, claims, args.in_flight))
        print(f"round {number + 1}: {rounds[-1]}", file=sys.stderr)
    medians = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    return {"claims": args.claims, "in_flight": args.in_flight} | medians


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--redis", help="URL of a Redis that may be EMPTIED; one is started if not")
    parser.add_argument("--claims", type=int, default=100_000)
    parser.add_argument("--in-flight", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sketches", action="store_true", help="find near-duplicates too")
    parser.add_argument(
        "--memory", action="store_true", help="only bytes a record, by their number"
    )
    parser.add_argument("--expected", type=int, default=200_000, help="records, for --memory")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    tune_garbage_collection()
    result = run(args)
    if args.json:
        print(json.dumps(result))
    else:
        for name, figure in result.items():
            print(f"{name:22} {figure:12,.2f}")


def run(args: argparse.Namespace) -> dict[str, Any]:
    if args.redis:
        return uvloop.run(measure(args.redis, args))
    with tempfile.TemporaryDirectory() as home:
        server = RedisServer(Path(home), free_port())
        server.start()
        try:
            server.wait_ready()
            return uvloop.run(measure(server.url, args))
        finally:
            server.kill()
            server.stop()


if __name__ == "__main__":
    main()
