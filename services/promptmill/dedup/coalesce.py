"""Coalescing: items that arrive while a call is in progress are sent with the next call."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Coalescer(Generic[Item, Result]):
    """Collects items into batches; a single item is sent at once.

    Args:
        run: processes a batch and returns one result for each item, in order. An exception is
            raised to every caller of the batch.
        limit: the largest number of items in a batch.
    """

    def __init__(
        self, run: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]], limit: int
    ) -> None:
        self._run = run
        self._limit = limit
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._flushing: asyncio.Task[None] | None = None

    async def submit(self, item: Item) -> Result:
        """Return the result for this item; a cancelled caller does not withdraw its item."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush(), name="coalescer")
        return await future

    async def stop(self) -> None:
        """Cancel waiting items and the call in progress."""
        if (task := self._flushing) is not None:
            task.cancel()
            await asyncio.wait([task])
        for _, future in self._waiting:
            future.cancel()
        self._waiting.clear()

    async def _flush(self) -> None:
        try:
            while self._waiting:
                size = min(self._limit, len(self._waiting))
                await self._settle([self._waiting.popleft() for _ in range(size)])
        finally:
            self._flushing = None

    async def _settle(self, batch: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        futures = [future for _, future in batch]
        try:
            results = await self._run([item for item, _ in batch])
            for future, result in zip(futures, results, strict=True):
                if not future.done():
                    future.set_result(result)
        except asyncio.CancelledError:
            for future in futures:
                future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - raised to every caller that still waits
            for future in futures:
                if not future.done():
                    future.set_exception(error)
