"""Results of one record's requests that outlive an attempt: what is paid for is not asked twice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from promptmill.core.together import all_outcomes, gravest

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
        if failure := gravest(outcomes):
            self._keep(prompt_id, kept)
            raise failure
        return [kept[index] for index in range(count)]

    def _keep(self, prompt_id: str, results: dict[int, Result]) -> None:
        self._kept[prompt_id] = results
        while len(self._kept) > KEPT_PROMPTS:
            del self._kept[next(iter(self._kept))]
