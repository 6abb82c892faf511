"""Requests a second through the HTTP engine, as a ratio to a bare aiohttp script in the same run.

A server of its own process answers every chat request after 50 ms. Both clients keep 256
requests in flight and take turns, because machines are noisy; the bare script posts the same
body and reads the same answer, and does nothing else. The better of its own two ways to decode
JSON (orjson) is used.

    python tests/bench/bench_http.py --rounds 9 --json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import structlog
import uvloop

sys.path.insert(0, str(Path(__file__).parent.parent))

from promptmill.core.engines.base import GenerateRequest, GradeRequest
from promptmill.core.engines.openai.generate import HttpGenerator
from promptmill.core.engines.openai.grade import HttpGrader
from promptmill.core.engines.openai.grade_reward import RewardForm
from promptmill.core.engines.openai.options import HttpOptions
from promptmill.core.lifecycle import tune_garbage_collection
from promptmill_schemas import Message, Sampling
from support.fast_server import fast_server

QUESTION = "Name a prime number above ten and say in one sentence why it is one. " * 8
MESSAGES = (Message(role="user", content=QUESTION),)


@dataclass(frozen=True)
class Pace:
    """What one run came to; the processor's time does not depend on who else is at work."""

    requests_per_s: float
    cpu_us_per_request: float


async def in_flight(one: Callable[[int], Awaitable[object]], requests: int, width: int) -> Pace:
    """Send requests with so many in flight."""
    numbers = iter(range(requests))

    async def lane() -> None:
        for number in numbers:
            await one(number)

    start, busy = time.perf_counter(), time.process_time()
    await asyncio.gather(*(lane() for _ in range(width)))
    return Pace(
        requests / (time.perf_counter() - start), 1e6 * (time.process_time() - busy) / requests
    )


async def bare(url: str, requests: int, width: int) -> Pace:
    """The script that one would write by hand."""
    body = {
        "model": "fast",
        "messages": [{"role": "user", "content": QUESTION}],
        "temperature": 1.0,
        "top_p": 1.0,
        "max_tokens": 512,
    }
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def one(number: int) -> str:
            data = orjson.dumps(body | {"seed": number})
            headers = {"Content-Type": "application/json"}
            async with session.post(
                f"{url}/chat/completions", data=data, headers=headers
            ) as response:
                answer = orjson.loads(await response.read())
                return str(answer["choices"][0]["message"]["content"])

        return await in_flight(one, requests, width)


async def generated(url: str, requests: int, width: int) -> Pace:
    """The instruct side of the engine."""
    engine = HttpGenerator(HttpOptions(url, concurrency=width))
    await engine.start()
    sampling = Sampling()

    async def one(number: int) -> None:
        await engine.generate(GenerateRequest(str(number), MESSAGES, sampling, number))

    try:
        return await in_flight(one, requests, width)
    finally:
        await engine.close()


async def graded(url: str, requests: int, width: int) -> Pace:
    """The reward side of the engine."""
    engine = HttpGrader(HttpOptions(url, concurrency=width), RewardForm())
    await engine.start()

    async def one(number: int) -> None:
        await engine.grade(GradeRequest(str(number), MESSAGES, "Thirteen."))

    try:
        return await in_flight(one, requests, width)
    finally:
        await engine.close()


async def measure(args: argparse.Namespace) -> dict[str, Any]:
    ways = {"bare": bare, "generate": generated, "grade": graded}
    ours = ("generate", "grade")
    paces: dict[str, list[Pace]] = {name: [] for name in ways}
    with fast_server(args.latency_s) as url:
        await bare(url, args.width * 4, args.width)
        for _ in range(args.rounds):
            for name, way in ways.items():
                pace = await way(url, args.requests, args.width)
                paces[name].append(pace)
                print(
                    f"{name:10} {pace.requests_per_s:8,.0f} requests/s "
                    f"{pace.cpu_us_per_request:6.0f} µs of processor each",
                    file=sys.stderr,
                )
    rates = {name: statistics.median(p.requests_per_s for p in paces[name]) for name in ways}
    costs = {name: statistics.median(p.cpu_us_per_request for p in paces[name]) for name in ways}
    return {
        "requests": args.requests,
        "in_flight": args.width,
        "latency_s": args.latency_s,
        "requests_per_s": rates,
        "cpu_us_per_request": costs,
        "ratio_to_bare": {name: _ratio(paces, name) for name in ours},
        "cpu_ratio_to_bare": {name: costs["bare"] / costs[name] for name in ours},
    }


def _ratio(paces: dict[str, list[Pace]], name: str) -> float:
    """The median over the rounds; both of a round have had the same neighbours."""
    pairs = zip(paces[name], paces["bare"], strict=True)
    return statistics.median(ours.requests_per_s / bare.requests_per_s for ours, bare in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=2_500)
    parser.add_argument("--width", type=int, default=256, help="requests in flight")
    parser.add_argument("--latency-s", type=float, default=0.05)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    tune_garbage_collection()
    result = uvloop.run(measure(args))
    if args.json:
        print(json.dumps(result))
    else:
        for name, ratio in result["ratio_to_bare"].items():
            print(f"{name:10} {ratio:.2f} of bare aiohttp")


if __name__ == "__main__":
    main()
