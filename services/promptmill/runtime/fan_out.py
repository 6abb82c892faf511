"""The requests of one record: they are made at once, and their results outlive an attempt.

What has been paid for is not requested again when a record is tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from promptmill.runtime.errors import Fatal, Poison

Result = TypeVar("Result")

KEPT_PROMPTS = 1_024
"""Prompts whose finished results are kept while another of their requests is tried again."""


class KeptResults(Generic[Result]):
    """The results of requests by prompt and index, for the prompts that failed last."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[int, Result]] = {}

    async def all_of(
        self, prompt_id: str, count: int, request: Callable[[int], Awaitable[Result]]
    ) -> list[Result]:
        """All requests at once; a second attempt makes only those that failed in the first.

        Args:
            count: requests of this prompt.
            request: makes the request of this index.

        Raises:
            PromptmillError: the most severe failure; what succeeded is kept.
        """
        kept = self._kept.pop(prompt_id, {})
        wanted = [index for index in range(count) if index not in kept]
        outcomes = await all_outcomes([request(index) for index in wanted])
        for index, outcome in zip(wanted, outcomes, strict=True):
            if not isinstance(outcome, Exception):
                kept[index] = outcome
        if failure := most_severe(outcomes):
            self._keep(prompt_id, kept)
            raise failure
        return [kept[index] for index in range(count)]

    def _keep(self, prompt_id: str, results: dict[int, Result]) -> None:
        self._kept[prompt_id] = results
        while len(self._kept) > KEPT_PROMPTS:
            del self._kept[next(iter(self._kept))]


_BY_SEVERITY = (Fatal, Poison)


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


def most_severe(outcomes: Sequence[object]) -> Exception | None:
    """The failure to raise for all: fatal before poison before what may pass."""
    failures = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    for kind in _BY_SEVERITY:
        if grave := [failure for failure in failures if isinstance(failure, kind)]:
            return grave[0]
    return failures[0] if failures else None
