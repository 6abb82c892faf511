"""Requests a second through the HTTP engine, as a ratio to a bare aiohttp script in the same run.

A server of its own process answers every chat request after 50 ms. Both clients keep 256
requests in flight and take turns, because machines are noisy; the bare script posts the same
body and reads the same answer, and does nothing else. The better of its own two ways to decode
JSON (orjson) is used.

    python tests/bench/bench_http.py --rounds 9 --json
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import structlog
import uvloop

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.bare_http import ASKED, QUESTION, Pace, bare_chat, in_flight, medians, ratio
from bench.fast_server import fast_server
from promptmill.inference.http.generate import HttpGenerator
from promptmill.inference.http.grade.grader import HttpGrader
from promptmill.inference.http.grade.reward_model import RewardModelFormat
from promptmill.inference.http.options import HttpOptions
from promptmill.inference.ports import GenerateRequest, GradeRequest
from promptmill.runtime.memory import tune_garbage_collection
from promptmill_schemas import Message, Sampling

MESSAGES = (Message(role="user", content=QUESTION),)


async def bare(url: str, requests: int, width: int) -> Pace:
    """The script that one would write by hand."""
    async with bare_chat(url) as ask:
        return await in_flight(lambda number: ask(ASKED | {"seed": number}), requests, width)


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
    engine = HttpGrader(HttpOptions(url, concurrency=width), RewardModelFormat())
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
                    f"{name:10} {pace.per_s:8,.0f} requests/s "
                    f"{pace.cpu_us:6.0f} µs of processor each",
                    file=sys.stderr,
                )
    costs = medians(paces, lambda pace: pace.cpu_us)
    return {
        "requests": args.requests,
        "in_flight": args.width,
        "latency_s": args.latency_s,
        "requests_per_s": medians(paces, lambda pace: pace.per_s),
        "cpu_us_per_request": costs,
        "ratio_to_bare": {name: ratio(paces[name], paces["bare"]) for name in ours},
        "cpu_ratio_to_bare": {name: costs["bare"] / costs[name] for name in ours},
    }


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
