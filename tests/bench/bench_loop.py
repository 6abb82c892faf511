"""Records a second through the stream loop, as a ratio to a bare aiokafka pass-through.

Both read the same 1 KiB messages from one topic, write them to another with acks=all and
commit what is done; they take turns in one run, because machines are noisy. Beside the rate
stands the processor time of this process for each record, and, without any I/O, what the
bookkeeping of offsets costs. With ``--redis``, each turn of the loop is followed by one under a
governor that never has to hold it: it looks at the lags each second, as the elected reader of all
topics, and its allowances are counted.

    python tests/bench/bench_loop.py --kafka 127.0.0.1:9092 --records 30000 --json
    python tests/bench/bench_loop.py --kafka 127.0.0.1:9092 --redis redis://127.0.0.1:6379/0 \
        --slots 1000 --rounds 9
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

sys.path.insert(0, str(Path(__file__).parent.parent))

import structlog

from promptmill.flow.board import Election, FlowKeys
from promptmill.flow.figures import KEEP_S, LEASE_S, Figures
from promptmill.flow.governor import Governor
from promptmill.flow.lags import TopicLag
from promptmill.flow.marks import Marks
from promptmill.flow.positions import LogPositions
from promptmill.flow.reports import WorkerReport
from promptmill.flow.throttle import Output, Throttle
from promptmill.flow.view import Sight
from promptmill.kafka.consumer import KafkaSource
from promptmill.kafka.log_reader import LogReader
from promptmill.kafka.producer_supervisor import LINGER_MS, MAX_BATCH_BYTES
from promptmill.kafka.sender import KafkaSender
from promptmill.kafka.topics import ensure_topics, topic_specs
from promptmill.runtime.memory import tune_garbage_collection
from promptmill.runtime.redis_client import connect
from promptmill.runtime.telemetry.metrics import StageMetrics
from promptmill.stream.loop import StreamLoop
from promptmill.stream.offsets import OffsetTracker
from promptmill.stream.outcome import Emit, Outcome, Outgoing
from promptmill.stream.ports import Position
from promptmill.stream.settings import LoopSettings
from support.kafka_topics import make_topics
from support.streams import ECHOES, ITEMS, CountingProbe, Item
from support.waiting import eventually

PARTITIONS = 12
TEXT = "x" * 990
MOST_ROUND_TRIPS = 1_000
"""A turn with few slots is bound by round trips; it ends after so many."""


async def fill(kafka: str, topic: str, records: int) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka, linger_ms=20, max_batch_size=MAX_BATCH_BYTES
    )
    await producer.start()
    futures = [
        await producer.send(
            topic, Item(number=n, text=TEXT).model_dump_json().encode(), str(n).encode()
        )
        for n in range(records)
    ]
    await asyncio.gather(*futures)
    await producer.stop()


class Turn(NamedTuple):
    """One measurement: records a second, and microseconds of this process for each."""

    rate: float
    cost_us: float


async def bare(kafka: str, prefix: str, records: int, compression: str | None) -> Turn:
    """The pass-through that one would write by hand: a batch, its acks, a commit."""
    consumer = AIOKafkaConsumer(
        prefix + ITEMS.name,
        bootstrap_servers=kafka,
        group_id=f"{prefix}bare{uuid.uuid4().hex[:6]}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka,
        acks="all",
        enable_idempotence=True,
        linger_ms=LINGER_MS,
        max_batch_size=MAX_BATCH_BYTES,
        compression_type=compression,
    )
    await producer.start()
    await consumer.start()
    done, start, cpu = 0, 0.0, 0.0
    while done < records:
        batches = await consumer.getmany(timeout_ms=200, max_records=500)
        start, cpu = start or time.perf_counter(), cpu or time.process_time()
        futures, offsets = [], {}
        for partition, messages in batches.items():
            futures += [
                await producer.send(prefix + ECHOES.name, message.value, message.key)
                for message in messages
            ]
            offsets[TopicPartition(*partition)] = messages[-1].offset + 1
        await asyncio.gather(*futures)
        if offsets:
            await consumer.commit(offsets)
        done += len(futures)
    turn = _turn(done, start, cpu)
    await consumer.stop()
    await producer.stop()
    return turn


def _turn(records: int, start: float, cpu: float) -> Turn:
    spent = time.process_time() - cpu
    return Turn(records / (time.perf_counter() - start), spent / records * 1e6)


class Unpressed:
    """Lags as the board has them, with room on the bench's own topic."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    async def look(self, report: WorkerReport) -> Sight | None:
        """The lags now."""
        sight = await self._figures.look(report)
        if sight is None:
            return None
        room = {ECHOES.name: TopicLag(ECHOES.name, 0, partitions=PARTITIONS)}
        return Sight({**sight.topics, **room}, sight.began_s, sight.source)


@asynccontextmanager
async def governed(kafka: str, redis: str, prefix: str, loop: StreamLoop) -> AsyncIterator[None]:
    """The loop under a governor, as ``promptmill.flow.worker`` puts it into a worker."""
    stats = StageMetrics("bench", time.monotonic)
    positions = LogPositions(lambda: LogReader(kafka, client_id="bench-lags"), prefix)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(positions.close)
        client = connect(redis)
        stack.push_async_callback(client.aclose)
        election = Election(
            client, FlowKeys(prefix), uuid.uuid4().hex, lease_s=LEASE_S, keep_s=KEEP_S
        )
        figures = Figures("bench", election, positions, [ECHOES.name], time.monotonic)
        stack.push_async_callback(figures.close)
        throttle = Throttle({ECHOES.name: Output(Marks(10**9, 10**15))}, trickle=10**9)
        view = Unpressed(figures)
        governor = Governor("bench", ITEMS.name, prefix, loop, throttle, view, stats)
        task = asyncio.create_task(governor.run())
        try:
            yield
            assert figures.standing.is_reader, "the governor has measured nothing"
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def ours(
    kafka: str,
    prefix: str,
    records: int,
    compression: str | None,
    slots: int,
    redis: str | None = None,
) -> Turn:
    """The stream loop with a worker that does nothing."""
    start, cpu = 0.0, 0.0

    async def work(item: Item) -> Outcome:
        nonlocal start, cpu
        start, cpu = start or time.perf_counter(), cpu or time.process_time()
        return Emit((Outgoing(ECHOES, item),))

    group = f"{prefix}ours{uuid.uuid4().hex[:6]}"
    source = KafkaSource(kafka, group, [prefix + ITEMS.name], client_id="bench", max_records=500)
    sender = KafkaSender(kafka, client_id="bench", compression=compression)
    probe = CountingProbe()
    loop = StreamLoop(
        source,
        sender,
        work,
        stage="bench",
        topic=ITEMS,
        settings=LoopSettings(slots=slots, prefetch=max(2_000, slots)),
        probe=probe,
        prefix=prefix,
    )
    async with AsyncExitStack() as stack:
        if redis is not None:
            await stack.enter_async_context(governed(kafka, redis, prefix, loop))
        task = asyncio.create_task(loop.run())
        wanted = min(records, slots * MOST_ROUND_TRIPS)
        await eventually(lambda: probe.outcomes["emit"] >= wanted, timeout_s=300)
        turn = _turn(probe.outcomes["emit"], start, cpu)
    loop.stop()
    await task
    return turn


def bookkeeping(in_flight: int, records: int = 200_000) -> float:
    """Microseconds for each record that offsets cost, finished at random among those in flight."""
    tracker, draw = OffsetTracker("t-0", Position(0)), Random(in_flight)
    at_work: list[int] = []
    begin = time.process_time()
    for offset in range(records):
        tracker.deliver(offset)
        at_work.append(offset)
        if len(at_work) >= in_flight:
            place = draw.randrange(len(at_work))
            at_work[place], at_work[-1] = at_work[-1], at_work[place]
            tracker.finish(at_work.pop())
    return (time.process_time() - begin) / records * 1e6


async def measure(args: argparse.Namespace) -> dict[str, Any]:
    prefix = f"bench{uuid.uuid4().hex[:6]}."
    await make_topics(args.kafka, [prefix + ITEMS.name, prefix + ECHOES.name], PARTITIONS)
    if args.redis:
        await ensure_topics(args.kafka, topic_specs(prefix, brokers=1))
    await fill(args.kafka, prefix + ITEMS.name, args.records)
    runs: dict[str, list[Turn]] = {}
    codec = None if args.compression == "none" else args.compression

    async def turn(name: str, run: Callable[..., Coroutine[Any, Any, Turn]], *more: Any) -> None:
        found = await run(args.kafka, prefix, args.records, codec, *more)
        runs.setdefault(name, []).append(found)
        print(f"{name:12} {found.rate:9,.0f} records/s {found.cost_us:7.0f} us", file=sys.stderr)

    for _ in range(args.rounds):
        await turn("bare", bare)
        for slots in args.slots:
            await turn(f"slots {slots}", ours, slots)
            if args.redis:
                await turn(f"slots {slots} governed", ours, slots, args.redis)
    rates = {name: statistics.median(t.rate for t in turns) for name, turns in runs.items()}
    costs = {name: statistics.median(t.cost_us for t in turns) for name, turns in runs.items()}
    return {
        "records": args.records,
        "compression": args.compression,
        "records_per_s": rates,
        "cost_us": costs,
        "ratio_to_bare": {name: rate / rates["bare"] for name, rate in rates.items()},
        "governed_to_free": {
            slots: _ratio(runs[f"slots {slots} governed"], runs[f"slots {slots}"])
            for slots in (args.slots if args.redis else ())
        },
        "bookkeeping_us": {slots: bookkeeping(slots) for slots in args.slots},
    }


def _ratio(governed_turns: list[Turn], free: list[Turn]) -> dict[str, float]:
    """Medians of the rounds: of the rates, and of the costs in processor time."""
    pairs = list(zip(governed_turns, free, strict=True))
    return {
        "rate": statistics.median(ours.rate / theirs.rate for ours, theirs in pairs),
        "cost": statistics.median(ours.cost_us / theirs.cost_us for ours, theirs in pairs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kafka", required=True, help="bootstrap servers")
    parser.add_argument("--redis", help="URL; also measure with a governor")
    parser.add_argument("--records", type=int, default=30_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slots", type=int, nargs="*", default=[1, 100, 1_000, 10_000])
    parser.add_argument("--compression", default="lz4", help="lz4, zstd or none")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    tune_garbage_collection()
    result = uvloop.run(measure(args))
    if args.json:
        print(json.dumps(result))
    else:
        for name, ratio in result["ratio_to_bare"].items():
            cost = result["cost_us"][name]
            print(f"{name:12} {ratio:.2f} of bare aiokafka, {cost:.0f} us of processor a record")
        for slots, ratio in result["governed_to_free"].items():
            rate, cost = ratio["rate"], ratio["cost"]
            print(f"slots {slots}: governed {rate:.3f} of the rate, {cost:.3f} of the cost")
        for slots, cost in result["bookkeeping_us"].items():
            print(f"offsets with {slots} in flight: {cost:.2f} us a record")


if __name__ == "__main__":
    main()
