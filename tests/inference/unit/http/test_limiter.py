"""The turnstile: in turn, never too many, nobody lost."""

from __future__ import annotations

import asyncio

import pytest

from promptmill.inference.http.limiter import HOLD_AFTER, Limiter
from support.waiting import eventually


async def test_no_more_are_let_in_than_the_limit_and_all_in_their_turn() -> None:
    limiter, order = Limiter(2), []

    async def visit(number: int) -> None:
        await limiter.acquire()
        assert limiter.in_flight <= 2
        order.append(number)
        await asyncio.sleep(0)
        limiter.release()

    await asyncio.gather(*map(visit, range(20)))
    assert order == list(range(20))
    assert limiter.in_flight == 0


async def test_who_has_waited_at_the_server_before_goes_first() -> None:
    limiter, order = Limiter(1), []
    await limiter.acquire()

    async def visit(name: str, *, urgent: bool) -> None:
        await limiter.acquire(urgent=urgent)
        order.append(name)
        limiter.release()

    fresh = asyncio.create_task(visit("fresh", urgent=False))
    await asyncio.sleep(0)
    again = asyncio.create_task(visit("again", urgent=True))
    await asyncio.sleep(0)
    limiter.release()
    await asyncio.gather(fresh, again)
    assert order == ["again", "fresh"]


async def test_one_who_leaves_the_queue_takes_no_slot_along() -> None:
    limiter = Limiter(1)
    await limiter.acquire()
    waiting = asyncio.create_task(limiter.acquire())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    limiter.release()
    assert limiter.try_acquire()


async def test_a_slot_given_to_one_who_leaves_is_passed_on() -> None:
    limiter = Limiter(1)
    await limiter.acquire()
    leaving, next_one = (asyncio.create_task(limiter.acquire()) for _ in range(2))
    await asyncio.sleep(0)
    limiter.release()
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    await asyncio.wait_for(next_one, 60)
    assert limiter.in_flight == 1


async def test_refusals_in_a_row_hold_everybody_until_the_time_is_over() -> None:
    limiter = Limiter(8)
    for _ in range(HOLD_AFTER):
        limiter.refused(0.05)
    assert not limiter.try_acquire()
    waiting = asyncio.create_task(limiter.acquire())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(waiting), 0.01)
    await asyncio.wait_for(waiting, 60)
    assert limiter.held_s == 0


async def test_a_refusal_among_successes_holds_nobody() -> None:
    limiter = Limiter(8)
    for _ in range(10):
        limiter.refused(60.0)
        limiter.accepted()
    assert limiter.try_acquire()


async def test_a_shorter_wish_does_not_end_a_longer_hold() -> None:
    limiter = Limiter(8)
    for wait_s in (2.0, 2.0, 2.0, 2.0, 0.01):
        limiter.refused(wait_s)
    assert limiter.held_s > 0.1
    await eventually(limiter.try_acquire)
    limiter.close()
