"""The canary decides between an outage and bad requests."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from promptmill.inference.http.breaker import MAX_BLOCKED_PAUSE_S, MAX_PAUSE_S, OPEN_AFTER, Breaker
from promptmill.inference.http.errors import (
    NotFound,
    OutOfQuota,
    Refused,
    ServerFault,
    ServerUnreachable,
)
from promptmill.runtime.errors import EngineDead, PromptmillError
from support.waiting import eventually


class Canary:
    """Fails as long as it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
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


async def test_a_canary_that_fails_unexpectedly_is_sent_again() -> None:
    """Otherwise the breaker stays open, and every record waits, until the process ends."""
    canary = Canary(TypeError("'int' object is not iterable"))
    breaker = Breaker(canary, 0.01)
    fail(breaker)
    await eventually(lambda: canary.asked >= 2)
    assert "TypeError" in breaker.trouble
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
    ("error", "cause", "says"),
    [
        (Refused("401: revoked"), "key", "refuses the key: 401: revoked"),
        (NotFound("404: gone"), "model", "does not have the model or the path: 404: gone"),
        (OutOfQuota("402: pay"), "quota", "quota of the model server is used up: 402: pay"),
        (ServerFault("500"), "server", "does not answer: 500"),
    ],
)
async def test_what_nobody_but_a_person_can_end_is_told_while_it_lasts(
    error: PromptmillError, cause: str, says: str
) -> None:
    canary = Canary(error)
    breaker = Breaker(canary, 0.01)
    for _ in range(OPEN_AFTER):
        breaker.failed(error)
    await eventually(lambda: canary.asked >= 5)
    assert (breaker.is_open, breaker.outages, breaker.cause) == (True, 1, cause)
    assert says in breaker.trouble
    canary.error = None
    assert await passes(breaker)
    assert (breaker.cause, breaker.trouble) == (None, "")


async def test_a_blocked_server_is_logged_once() -> None:
    with capture_logs() as logs:
        error = OutOfQuota("402: pay")
        canary = Canary(error)
        breaker = Breaker(canary, 0.01)
        breaker.failed(error)
        await eventually(lambda: canary.asked >= 5)
        await breaker.close()
    assert [log["event"] for log in logs] == ["breaker_open", "model_server_blocked"]


def test_the_pauses_grow_to_minutes_while_a_person_has_to_act() -> None:
    breaker = Breaker(Canary(), 1.0)
    breaker._describe(Refused("401"))
    assert 100 < breaker._pause_s(20, Refused("401")) <= MAX_BLOCKED_PAUSE_S
    breaker._describe(ServerFault("500"))
    assert breaker._pause_s(20, ServerFault("500")) <= MAX_PAUSE_S


async def test_an_error_that_only_a_new_process_can_remove_ends_this_one() -> None:
    canary = Canary(EngineDead("gone"))
    breaker = Breaker(canary, 0.01)
    breaker.failed(Refused("401"))
    for _ in range(2):
        with pytest.raises(EngineDead, match="gone"):
            await asyncio.wait_for(breaker.wait_until_closed(), 60)
    assert canary.asked == 1


async def test_closing_stops_the_questions() -> None:
    canary = Canary(ServerUnreachable("refused"))
    breaker = Breaker(canary, 0.01)
    fail(breaker)
    await eventually(lambda: canary.asked >= 1)
    await breaker.close()
    asked = canary.asked
    await asyncio.sleep(0.05)
    assert canary.asked == asked
