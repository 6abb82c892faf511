"""The canary decides between an outage and bad requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from promptmill.inference.http.breaker import OPEN_AFTER, REFUSALS, Breaker
from promptmill.inference.http.errors import Refused, ServerFault, ServerUnreachable
from promptmill.runtime.errors import EngineDead, Misconfigured, PromptmillError
from support.waiting import eventually


class Canary:
    """Fails as long as it is told to."""

    def __init__(self, error: PromptmillError | None = None) -> None:
        self.error = error
        self.asked = 0

    async def __call__(self) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error


def fail(breaker: Breaker, times: int = OPEN_AFTER) -> None:
    for _ in range(times):
        breaker.failed(ServerFault("500"))


async def passes(breaker: Breaker) -> bool:
    await asyncio.wait_for(breaker.wait_until_closed(), 60)
    return not breaker.is_open


async def test_failures_with_successes_between_them_open_nothing() -> None:
    breaker = Breaker(Canary(), 0.01)
    for _ in range(100):
        fail(breaker, OPEN_AFTER - 1)
        breaker.succeeded()
    assert not breaker.is_open


async def test_failures_in_a_row_of_a_healthy_server_are_no_outage() -> None:
    canary = Canary()
    breaker = Breaker(canary, 0.01)
    fail(breaker)
    assert breaker.is_open
    assert await passes(breaker)
    assert (canary.asked, breaker.outages) == (1, 0)


async def test_in_an_outage_all_wait_until_the_canary_succeeds() -> None:
    canary = Canary(ServerUnreachable("refused"))
    breaker = Breaker(canary, 0.01)
    fail(breaker)
    await eventually(lambda: canary.asked >= 3)
    assert breaker.is_open
    assert breaker.outages == 1
    canary.error = None
    assert await passes(breaker)


async def test_a_late_success_closes_it_too() -> None:
    breaker = Breaker(Canary(ServerUnreachable("refused")), 60)
    fail(breaker)
    await eventually(lambda: breaker.outages == 1)
    breaker.succeeded()
    assert await passes(breaker)
    await breaker.close()


async def test_a_refused_key_is_checked_with_the_canary_before_it_is_believed() -> None:
    canary = Canary()
    breaker = Breaker(canary, 0.01)
    breaker.failed(Refused("401"))
    assert breaker.is_open
    assert await passes(breaker)


@pytest.mark.parametrize(
    ("make", "asked"),
    [(lambda: Refused("401: revoked"), REFUSALS), (lambda: EngineDead("gone"), 1)],
)
async def test_what_the_canary_is_refused_for_ends_the_process(
    make: Callable[[], PromptmillError], asked: int
) -> None:
    canary = Canary(make())
    breaker = Breaker(canary, 0.01)
    breaker.failed(Refused("401"))
    with pytest.raises((Misconfigured, EngineDead), match=r"revoked|gone"):
        await asyncio.wait_for(breaker.wait_until_closed(), 60)
    assert canary.asked == asked
    with pytest.raises((Misconfigured, EngineDead)):
        await breaker.wait_until_closed()


async def test_closing_stops_the_questions() -> None:
    canary = Canary(ServerUnreachable("refused"))
    breaker = Breaker(canary, 0.01)
    fail(breaker)
    await eventually(lambda: canary.asked >= 1)
    await breaker.close()
    asked = canary.asked
    await asyncio.sleep(0.05)
    assert canary.asked == asked
