"""Results that outlive an attempt, and how many of them are kept."""

from __future__ import annotations

import asyncio

import pytest

from promptmill.runtime.errors import Transient
from promptmill.runtime.fan_out import KeptResults

BOUND = 1_024
"""Said here once more on purpose: ten times as many would go unnoticed otherwise."""


class Requests:
    """Succeeds for even indexes only, until it is told to."""

    def __init__(self) -> None:
        self.healed = False
        self.made: list[int] = []

    async def __call__(self, index: int) -> str:
        self.made.append(index)
        if index % 2 and not self.healed:
            raise Transient("odd")
        return f"result {index}"


async def fail(kept: KeptResults[str], prompt_id: str) -> None:
    with pytest.raises(Transient):
        await kept.all_of(prompt_id, 2, Requests())


async def made_again(kept: KeptResults[str], prompt_id: str) -> list[int]:
    requests = Requests()
    requests.healed = True
    assert await kept.all_of(prompt_id, 2, requests) == ["result 0", "result 1"]
    return requests.made


async def test_a_second_attempt_makes_only_what_failed() -> None:
    kept: KeptResults[str] = KeptResults()
    await fail(kept, "a")
    assert await made_again(kept, "a") == [1]
    assert await made_again(kept, "a") == [0, 1]


async def test_what_was_ready_when_an_attempt_was_cancelled_is_not_made_again() -> None:
    """A deadline or a rebalance aborts the attempt; the record comes again."""
    kept: KeptResults[str] = KeptResults()
    begun = asyncio.Event()

    async def hang_at_1(index: int) -> str:
        if index == 1:
            begun.set()
            await asyncio.Event().wait()
        return f"result {index}"

    attempt = asyncio.create_task(kept.all_of("a", 2, hang_at_1))
    await begun.wait()
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    assert await made_again(kept, "a") == [1]


async def test_the_results_of_so_many_prompts_are_kept_and_of_no_more() -> None:
    kept: KeptResults[str] = KeptResults()
    for number in range(BOUND + 1):
        await fail(kept, f"prompt {number}")
    assert await made_again(kept, "prompt 0") == [0, 1], "the oldest is forgotten"
    assert await made_again(kept, "prompt 1") == [1]
    assert await made_again(kept, f"prompt {BOUND}") == [1]
