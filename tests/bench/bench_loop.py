"""Records a second through the stream loop, as a ratio to a bare aiokafka pass-through.

Both read the same 1 KiB messages from one topic, write them to another with acks=all and
commit what is done; they take turns in one run, because machines are noisy.

    python tests/bench/bench_loop.py --kafka 127.0.0.1:9092 --records 30000 --json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
import uuid
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

sys.path.insert(0, str(Path(__file__).parent.parent))

import structlog

from promptmill.core.lifecycle import tune_garbage_collection
from promptmill.core.stream.kafka.sender import LINGER_MS, MAX_BATCH_BYTES, KafkaSender
from promptmill.core.stream.kafka.source import KafkaSource
from promptmill.core.stream.loop import StreamLoop
from promptmill.core.stream.outcome import Emit, Outcome, Outgoing
from promptmill.core.stream.settings import LoopSettings
from support.kafka_topics import make_topics
from support.streams import ECHOES, ITEMS, CountingProbe, Item
from support.waiting import eventually

PARTITIONS = 12
TEXT = "x" * 990


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


async def bare(kafka: str, prefix: str, records: int) -> float:
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
        compression_type="lz4",
    )
    await producer.start()
    await consumer.start()
    done, start = 0, 0.0
    while done < records:
        batches = await consumer.getmany(timeout_ms=200, max_records=500)
        start = start or time.perf_counter()
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
    seconds = time.perf_counter() - start
    await consumer.stop()
    await producer.stop()
    return records / seconds


async def ours(kafka: str, prefix: str, records: int, slots: int) -> float:
    """The stream loop with a worker that does nothing."""
    begun = 0.0

    async def work(item: Item) -> Outcome:
        nonlocal begun
        begun = begun or time.perf_counter()
        return Emit((Outgoing(ECHOES, item),))

    group = f"{prefix}ours{uuid.uuid4().hex[:6]}"
    source = KafkaSource(kafka, group, [prefix + ITEMS.name], client_id="bench", max_records=500)
    sender = KafkaSender(kafka, client_id="bench")
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
    task = asyncio.create_task(loop.run())
    await eventually(lambda: probe.outcomes["emit"] >= records, timeout_s=300)
    seconds = time.perf_counter() - begun
    loop.stop()
    await task
    return records / seconds


async def measure(args: argparse.Namespace) -> dict[str, Any]:
    prefix = f"bench{uuid.uuid4().hex[:6]}."
    await make_topics(args.kafka, [prefix + ITEMS.name, prefix + ECHOES.name], PARTITIONS)
    await fill(args.kafka, prefix + ITEMS.name, args.records)
    runs: dict[str, list[float]] = {}

    async def turn(name: str, run: Callable[[], Coroutine[Any, Any, float]]) -> None:
        rate = await run()
        runs.setdefault(name, []).append(rate)
        print(f"{name:12} {rate:9,.0f} records/s", file=sys.stderr)

    for _ in range(args.rounds):
        await turn("bare", lambda: bare(args.kafka, prefix, args.records))
        for slots in args.slots:
            await turn(f"slots {slots}", partial(ours, args.kafka, prefix, args.records, slots))
    rates = {name: statistics.median(values) for name, values in runs.items()}
    ratios = {name: rate / rates["bare"] for name, rate in rates.items() if name != "bare"}
    return {"records": args.records, "records_per_s": rates, "ratio_to_bare": ratios}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kafka", required=True, help="bootstrap servers")
    parser.add_argument("--records", type=int, default=30_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slots", type=int, nargs="*", default=[100, 1_000, 10_000])
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    tune_garbage_collection()
    result = uvloop.run(measure(args))
    if args.json:
        print(json.dumps(result))
    else:
        for name, ratio in result["ratio_to_bare"].items():
            print(f"{name:12} {ratio:.2f} of bare aiokafka")


if __name__ == "__main__":
    main()
