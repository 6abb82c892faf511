"""Makes the requests of one record concurrently, and keeps their results between attempts.

Another attempt at a record does not repeat requests that have succeeded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from promptmill.runtime.errors import Fatal, Poison

Result = TypeVar("Result")

KEPT_PROMPTS = 1_024
"""The maximum number of prompts whose results are kept until their next attempt."""


class KeptResults(Generic[Result]):
    """The results of requests by key and index, for the prompts that failed most recently."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[int, Result]] = {}

    async def all_of(
        self, key: str, count: int, request: Callable[[int], Awaitable[Result]]
    ) -> list[Result]:
        """Make all requests concurrently; another attempt makes only those that have no result.

        Args:
            key: the id of the prompt, with everything else that its requests depend on.
            count: the number of its requests.
            request: makes the request with the given index.

        Returns:
            The results, ordered by index.

        Raises:
            PromptmillError: the most severe failure. The results of the other requests are kept,
                also after a cancellation.
        """
        kept = self._kept.pop(key, {})

        async def make(index: int) -> None:
            kept[index] = await request(index)

        try:
            outcomes = await all_outcomes([make(n) for n in range(count) if n not in kept])
        except asyncio.CancelledError:
            self._keep(key, kept)
            raise
        if failure := most_severe(outcomes):
            self._keep(key, kept)
            raise failure
        return [kept[index] for index in range(count)]

    def _keep(self, key: str, results: dict[int, Result]) -> None:
        self._kept[key] = results
        while len(self._kept) > KEPT_PROMPTS:
            del self._kept[next(iter(self._kept))]


_BY_SEVERITY = (Fatal, Poison)


async def all_outcomes(requests: Sequence[Awaitable[Result]]) -> list[Result | Exception]:
    """Return the result or error of each request, in order. Cancelling this cancels all requests.

    A failure does not abort the other requests, because their results can be kept for the next
    attempt.
    """
    tasks = [asyncio.ensure_future(request) for request in requests]
    try:
        if tasks:
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


def most_severe(outcomes: Sequence[object]) -> Exception | None:
    """Return the most severe failure, if any: ``Fatal``, then ``Poison``, then others."""
    failures = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    for kind in _BY_SEVERITY:
        if grave := [failure for failure in failures if isinstance(failure, kind)]:
            return grave[0]
    return failures[0] if failures else None
