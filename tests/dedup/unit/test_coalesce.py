"""What is asked while a call is under way goes out with the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from promptmill.dedup.coalesce import Coalescer
from support.waiting import eventually


class Server:
    """Doubles numbers, one batch at a time, when it is let."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.dedup_store = asyncio.Event()
        self.dedup_store.set()

    async def double(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        await self.dedup_store.wait()
        if 13 in items:
            raise ValueError("thirteen")
        return [2 * item for item in items if item != 99]


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def coalescer(server: Server) -> Coalescer[int, int]:
    return Coalescer(server.double, limit=4)


async def test_what_is_asked_together_goes_out_in_batches(
    server: Server, coalescer: Coalescer[int, int]
) -> None:
    assert await asyncio.gather(*map(coalescer.submit, range(10))) == list(range(0, 20, 2))
    assert [len(batch) for batch in server.batches] == [4, 4, 2]


async def test_what_is_asked_during_a_call_goes_out_with_the_next_one(
    server: Server, coalescer: Coalescer[int, int]
) -> None:
    server.dedup_store.clear()
    first = asyncio.create_task(coalescer.submit(1))
    await eventually(lambda: server.batches)
    others = [asyncio.create_task(coalescer.submit(number)) for number in (2, 3)]
    await asyncio.sleep(0)
    server.dedup_store.set()
    assert await asyncio.gather(first, *others) == [2, 4, 6]
    assert server.batches == [[1], [2, 3]]


async def test_an_error_reaches_every_caller_of_its_batch_and_no_other(
    coalescer: Coalescer[int, int],
) -> None:
    results = await asyncio.gather(*map(coalescer.submit, (1, 2, 3, 13, 5)), return_exceptions=True)
    assert [type(result) for result in results] == [ValueError] * 4 + [int]


async def test_a_missing_result_is_an_error_and_not_a_wait(coalescer: Coalescer[int, int]) -> None:
    async with asyncio.timeout(60):
        with pytest.raises(ValueError, match="shorter"):
            await coalescer.submit(99)


async def test_a_stop_cancels_what_waits(server: Server, coalescer: Coalescer[int, int]) -> None:
    server.dedup_store.clear()
    tasks = [asyncio.create_task(coalescer.submit(number)) for number in range(6)]
    await eventually(lambda: server.batches)
    await coalescer.stop()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
