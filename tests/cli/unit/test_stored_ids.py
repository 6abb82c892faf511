"""Ids are looked up by one query, or in a file of all; the answers are the same."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection, Iterator, Sequence

import pytest

from promptmill.cli.counts import FEW_IDS
from promptmill.cli.publish import stored_ids
from promptmill.cli.publish.stored_ids import StoredIds
from support.waiting import eventually


class Table:
    """Ids 0 to 9 of a table that grows when a test says so."""

    def __init__(self) -> None:
        self.ids = [identity(number) for number in range(10)]
        self.queries: list[Collection[str] | None] = []

    def read(self, among: Collection[str] | None) -> Iterator[Sequence[str]]:
        self.queries.append(among)
        found = [each for each in self.ids if among is None or each in among]
        yield found[:4]
        yield found[4:]


def identity(number: int) -> str:
    return f"{number:032x}"


def some(first: int, last: int) -> list[str]:
    return [identity(number) for number in range(first, last)]


async def test_the_first_few_are_looked_up_by_a_query() -> None:
    table = Table()
    stored = StoredIds(table.read)
    assert await stored.among([]) == set()
    assert await stored.among(some(8, 12)) == set(some(8, 10))
    assert table.queries == [some(8, 12)]


async def test_a_second_time_all_are_read_once() -> None:
    table = Table()
    stored = StoredIds(table.read)
    for first in range(4):
        assert await stored.among(some(first, 12)) == set(some(first, 10))
    assert table.queries == [some(0, 12), None]


async def test_for_many_all_are_read_at_once() -> None:
    table = Table()
    stored = StoredIds(table.read)
    assert await stored.among(some(9, 9 + FEW_IDS + 1)) == {identity(9)}
    assert table.queries == [None]


async def test_missing_ids_are_counted_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_ids, "PART", 3)
    assert await StoredIds(Table().read).missing(iter(some(5, 20))) == 10


async def test_a_thread_whose_caller_is_cancelled_stops_reading() -> None:
    """Ctrl-C does not wait until all of a large table is read."""
    batches, goes_on = 0, threading.Event()

    def endless(among: Collection[str] | None) -> Iterator[Sequence[str]]:
        nonlocal batches
        try:
            while True:
                batches += 1
                yield [identity(1)]
                goes_on.wait()
        finally:
            goes_on.clear()

    task = asyncio.create_task(StoredIds(endless).among([identity(1)]))
    await eventually(lambda: batches == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    goes_on.set()
    await eventually(lambda: not goes_on.is_set())
    assert batches == 2
