"""What the benchmarks over HTTP share: the script that one would write by hand, and its pace."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

QUESTION = "Name a prime number above ten and say in one sentence why it is one. " * 8
ASKED = {
    "model": "fast",
    "messages": [{"role": "user", "content": QUESTION}],
    "temperature": 1.0,
    "top_p": 1.0,
    "max_tokens": 512,
}
"""The body of a request for an answer, but for its seed."""


@dataclass(frozen=True)
class Pace:
    """What one turn came to; the processor's time does not depend on who else is at work.

    Attributes:
        per_s: requests or records.
        cpu_us: of each of them.
    """

    per_s: float
    cpu_us: float


async def in_flight(one: Callable[[int], Awaitable[object]], number: int, width: int) -> Pace:
    """Do so many, with so many in flight."""
    numbers = iter(range(number))

    async def lane() -> None:
        for each in numbers:
            await one(each)

    start, busy = time.perf_counter(), time.process_time()
    await asyncio.gather(*(lane() for _ in range(width)))
    seconds, cpu_s = time.perf_counter() - start, time.process_time() - busy
    return Pace(number / seconds, 1e6 * cpu_s / number)


@asynccontextmanager
async def bare_chat(url: str) -> AsyncIterator[Callable[[Mapping[str, Any]], Awaitable[str]]]:
    """Posts a body and gives the answer's text, with bare aiohttp."""
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask(body: Mapping[str, Any]) -> str:
            data = orjson.dumps(body)
            async with session.post(
                f"{url}/chat/completions", data=data, headers=headers
            ) as response:
                answer = orjson.loads(await response.read())
                return str(answer["choices"][0]["message"]["content"])

        yield ask


def medians(
    paces: Mapping[str, Sequence[Pace]], figure: Callable[[Pace], float]
) -> dict[str, float]:
    """Over the rounds, by name."""
    return {name: statistics.median(map(figure, found)) for name, found in paces.items()}


def ratio(ours: Sequence[Pace], bare: Sequence[Pace]) -> float:
    """The median over the rounds; both of a round have had the same neighbours."""
    pairs = zip(ours, bare, strict=True)
    return statistics.median(our.per_s / their.per_s for our, their in pairs)
