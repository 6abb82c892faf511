"""Records a second through instruct and reward workers, Kafka to Kafka, with two calls a record.

A server of its own process answers every call after 50 ms. The bare aiohttp script asks it for an
answer and then for the grades, with 256 records in flight, and keeps nothing. The workers are
those of ``promptmill run``, each a process: prompts are read from a topic, answers go over
another, graded answers are published and offsets committed. ``shared``: 128 requests in flight
at each worker, 256 together, as many as the script has. ``each``: 256 at each worker, which is
how one would run them. All take turns in one run, because machines are noisy.

    python tests/bench/bench_http_kafka.py --rounds 3 --json

Beside the rates stands the processor's time of the script and of the workers for each record,
without that of the server and the broker, which share the same cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.bare_http import ASKED, QUESTION, Pace, bare_chat, in_flight, medians, ratio
from bench.fast_server import fast_server
from promptmill.devstack.ports import free_port
from promptmill.kafka.sender import KafkaSender
from promptmill_schemas import Message, Prompt, encode
from promptmill_schemas.topics import PARTITIONS, PROMPTS, SCORED, TOPICS
from support.kafka_topics import make_topics
from support.pipeline import Pipeline
from support.stack import running_stack
from support.waiting import eventually

MESSAGES = ({"role": "user", "content": QUESTION},)
POLL_S = 0.1
SETTLED_WITHIN_S = 300


async def bare(url: str, records: int, width: int) -> Pace:
    """The script that one would write by hand: two calls for each record, one after the other."""
    async with bare_chat(url) as ask:

        async def one(number: int) -> None:
            answer = {"role": "assistant", "content": await ask(ASKED | {"seed": number})}
            await ask({"model": "fast", "messages": [*MESSAGES, answer]})

        return await in_flight(one, records, width)


async def publish(kafka: str, prefix: str, records: int) -> None:
    await make_topics(kafka, [prefix + topic.name for topic in TOPICS], PARTITIONS)
    sender = KafkaSender(kafka, client_id="publisher")
    await sender.start()
    message = Message(role="user", content=QUESTION)
    prompts = [Prompt.create(f"{prefix}{n}", (message,), n=1) for n in range(records)]
    await asyncio.gather(
        *(sender.send(prefix + PROMPTS.name, p.prompt_id.encode(), encode(p)) for p in prompts)
    )
    await sender.stop()


async def workers(pipeline: Pipeline, kafka: str, url: str, records: int, width: int) -> Pace:
    """Timed from the first graded answers that are seen to the last: as the bare script, without
    the start of the processes.

    Args:
        width: requests in flight at each of the two.
    """
    prefix = f"bench{uuid.uuid4().hex[:6]}."
    await publish(kafka, prefix, records)
    options = [
        *("--engine", "openai", "--base-url", url, "--model", "fast"),
        *("--topic-prefix", prefix, "--concurrency", str(width), "--log-level", "WARNING"),
    ]
    port = str(free_port())
    with ExitStack() as stack:
        # The grader first: no answers may wait for it when the time begins.
        running = [
            stack.enter_context(pipeline.workers("reward", *options, "--port", port)).process
        ]
        await eventually(lambda: _is_ready(port), 60)
        running.append(stack.enter_context(pipeline.workers("instruct", *options)).process)
        async with counter(kafka, prefix + SCORED.name) as count:
            while not (first := await count()):
                _check(running)
                await asyncio.sleep(POLL_S)
            start, busy = time.perf_counter(), _cpu_s(running)
            done, limit = first, start + SETTLED_WITHIN_S
            while done < records:
                _check(running)
                assert time.perf_counter() < limit, f"{done} of {records} graded"
                await asyncio.sleep(POLL_S)
                done = await count()
        seconds, cpu_s = time.perf_counter() - start, _cpu_s(running) - busy
    assert done == records, "a record is graded twice"
    return Pace((done - first) / seconds, 1e6 * cpu_s / (done - first))


@asynccontextmanager
async def counter(kafka: str, topic: str) -> AsyncIterator[Any]:
    """Counts what stands in the topic now, by its offsets."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka)
    await consumer.start()
    partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    consumer.assign(partitions)

    async def count() -> int:
        return sum((await consumer.end_offsets(partitions)).values())

    try:
        yield count
    finally:
        await consumer.stop()


async def _is_ready(port: str) -> bool:
    async with aiohttp.ClientSession() as session:
        try:
            async with session.get(f"http://127.0.0.1:{port}/health/ready") as response:
                return response.status == HTTPStatus.OK
        except aiohttp.ClientConnectionError:
            return False


def _check(running: Sequence[Any]) -> None:
    for process in running:
        assert process.poll() is None, f"a worker ended with {process.returncode}; see its log"


def _cpu_s(running: Sequence[Any]) -> float:
    """Processor's seconds of these processes and their children so far."""
    total = 0.0
    for process in running:
        parent = psutil.Process(process.pid)
        for one in (parent, *parent.children(recursive=True)):
            times = one.cpu_times()
            total += times.user + times.system
    return total


async def measure(args: argparse.Namespace) -> dict[str, Any]:
    turns: dict[str, list[Pace]] = {"bare": [], "shared": [], "each": []}
    with tempfile.TemporaryDirectory() as folder, running_stack(Path(folder)) as stack:
        pipeline = Pipeline(Path(folder))
        with fast_server(args.latency_s) as url:
            await bare(url, args.width * 4, args.width)
            for _ in range(args.rounds):
                _note(turns, "bare", await bare(url, args.records, args.width))
                for name, width in (("shared", args.width // 2), ("each", args.width)):
                    turn = await workers(pipeline, stack.kafka, url, args.records, width)
                    _note(turns, name, turn)
    return {
        "records": args.records,
        "in_flight": args.width,
        "latency_s": args.latency_s,
        "records_per_s": medians(turns, lambda turn: turn.per_s),
        "cpu_us": medians(turns, lambda turn: turn.cpu_us),
        "ratio_to_bare": {name: ratio(turns[name], turns["bare"]) for name in ("shared", "each")},
    }


def _note(turns: dict[str, list[Pace]], name: str, turn: Pace) -> None:
    turns[name].append(turn)
    print(
        f"{name:8} {turn.per_s:8,.0f} records/s {turn.cpu_us:6.0f} µs of processor each",
        file=sys.stderr,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=256, help="records in flight")
    parser.add_argument("--latency-s", type=float, default=0.05)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    result = uvloop.run(measure(args))
    if args.json:
        print(json.dumps(result))
    else:
        ratios = result["ratio_to_bare"]
        print(f"of bare aiohttp: {ratios['shared']:.2f} shared, {ratios['each']:.2f} each")


if __name__ == "__main__":
    main()
