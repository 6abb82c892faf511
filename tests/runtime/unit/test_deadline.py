"""The one deadline of a shutdown."""

from __future__ import annotations

import asyncio

import pytest

from promptmill.runtime.timing import MIN_CLOSING_S, Deadline


class Clock:
    """Time in the test's hands."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_grace_period_is_the_whole_of_the_shutdown() -> None:
    deadline = Deadline(60, Clock())
    assert (deadline.drain_left_s, deadline.left_s) == (50, 60)


def test_a_short_grace_period_leaves_time_to_close_all_the_same() -> None:
    deadline = Deadline(0, Clock())
    assert (deadline.drain_left_s, deadline.left_s) == (0, MIN_CLOSING_S)


def test_steps_that_hang_never_add_up_beyond_the_deadline() -> None:
    clock = Clock()
    deadline = Deadline(60, clock)
    for _ in range(50):
        clock.now += deadline.step_s
    assert clock.now <= 160
    assert deadline.step_s >= 0


async def test_a_step_that_ignores_its_cancellation_is_left_behind() -> None:
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    clock = Clock()
    deadline = Deadline(0, clock)
    clock.now += MIN_CLOSING_S
    assert not await deadline.run("stubborn", stubborn())
    release.set()


async def test_the_error_of_a_step_is_raised_or_reported() -> None:
    async def failing() -> None:
        raise OSError("gone")

    errors: list[Exception] = []
    with pytest.raises(OSError, match="gone"):
        await Deadline(5).run("failing", failing())
    await Deadline(5).close("failing", failing, errors.append)
    assert [str(error) for error in errors] == ["gone"]
