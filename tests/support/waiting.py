"""Waits for what other processes and tasks do, instead of sleeping and hoping."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")

_POLL_S = 0.02

PATIENCE_S = 120.0
"""How long a test waits for what must come: only a hang lasts so long, on any machine."""


@overload
async def eventually(
    predicate: Callable[[], Awaitable[T]], timeout_s: float = ..., because: str = ...
) -> T: ...


@overload
async def eventually(
    predicate: Callable[[], T], timeout_s: float = ..., because: str = ...
) -> T: ...


async def eventually(
    predicate: Callable[[], Any], timeout_s: float = PATIENCE_S, because: str = ""
) -> Any:
    """Awaits the first truthy result of a function or coroutine function, and returns it.

    An ``AssertionError`` of the predicate counts as false, so it may assert in detail.

    Raises:
        AssertionError: nothing truthy within the time; from the predicate's own, if it had one.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        failure: AssertionError | None = None
        try:
            result = predicate()
            if inspect.isawaitable(result):
                result = await result
        except AssertionError as error:
            failure, result = error, None
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(_message(because, timeout_s, failure or result)) from failure
        await asyncio.sleep(_POLL_S)


def eventually_now(
    predicate: Callable[[], T], timeout_s: float = PATIENCE_S, because: str = ""
) -> T:
    """``eventually`` for tests without an event loop."""
    deadline = time.monotonic() + timeout_s
    while not (result := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(_message(because, timeout_s, result))
        time.sleep(_POLL_S)
    return result


def _message(because: str, timeout_s: float, last: object) -> str:
    return f"{because or 'the condition'} did not come true within {timeout_s:g} s; last: {last!r}"
