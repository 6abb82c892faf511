"""Several requests of one record at once, and the one failure that stands for all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from promptmill.core.errors import Fatal, Poison

Result = TypeVar("Result")

_GRAVITY = (Fatal, Poison)


async def all_outcomes(requests: Sequence[Awaitable[Result]]) -> list[Result | Exception]:
    """What each came to, in order. Cancelling this cancels all of them.

    None is aborted because another failed: what it has cost is paid, and its answer can be
    kept for the next attempt.
    """
    tasks = [asyncio.ensure_future(request) for request in requests]
    try:
        await asyncio.wait(tasks)
    finally:
        for task in tasks:
            task.cancel()
    return [_failure(task) or task.result() for task in tasks]


def _failure(task: asyncio.Future[Result]) -> Exception | None:
    error = task.exception()
    if error is None or isinstance(error, Exception):
        return error
    raise error


def gravest(outcomes: Sequence[object]) -> Exception | None:
    """The failure to raise for all: fatal before poison before what may pass."""
    failures = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    for kind in _GRAVITY:
        if grave := [failure for failure in failures if isinstance(failure, kind)]:
            return grave[0]
    return failures[0] if failures else None
