"""Waiting ends when a run is settled or the time is over, and survives an absent broker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from promptmill.cli import waiting
from promptmill.cli.run_status import RunStatus
from promptmill.cli.waiting import wait_until_settled
from promptmill.runtime.errors import Fatal, Unavailable


def status(published: int, pending: int) -> RunStatus:
    return RunStatus("run", published, published - pending, 0, 0, pending, {})


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MIN_PAUSE_S", 0.001)


def answers(*given: RunStatus | Exception) -> Callable[[], Awaitable[RunStatus]]:
    """Gives these in turn, the last one for ever."""
    rest = list(given)

    async def read() -> RunStatus:
        answer = rest.pop(0) if len(rest) > 1 else rest[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return read


async def test_it_returns_as_soon_as_all_is_settled_and_shows_each_state() -> None:
    states = [status(0, 0), status(3, 2), status(3, 0)]
    shown: list[RunStatus] = []
    assert await wait_until_settled(answers(*states), 60.0, shown.append) == states[-1]
    assert shown == states


async def test_at_the_limit_the_last_state_is_returned() -> None:
    found = await wait_until_settled(answers(status(3, 1)), 0.01, lambda _: None)
    assert not found.settled


async def test_a_limit_of_zero_looks_once() -> None:
    shown: list[RunStatus] = []
    await wait_until_settled(answers(status(3, 1)), 0.0, shown.append)
    assert len(shown) == 1


async def test_a_broker_that_comes_back_in_time_is_waited_for() -> None:
    read = answers(Unavailable("away"), Unavailable("away"), status(3, 0))
    assert (await wait_until_settled(read, 60.0, lambda _: None)).settled


async def test_a_broker_that_is_still_away_at_the_limit_is_an_error() -> None:
    with pytest.raises(Unavailable):
        await wait_until_settled(answers(Unavailable("away")), 0.01, lambda _: None)


async def test_what_waiting_cannot_mend_is_an_error_at_once() -> None:
    with pytest.raises(Fatal):
        await wait_until_settled(answers(Fatal("broken"), status(3, 0)), 60.0, lambda _: None)


def test_a_run_without_prompts_is_not_settled() -> None:
    assert not status(0, 0).settled
    assert status(1, 0).settled
