"""The books are exact at every moment, whatever the tables' files look like."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptmill.core.errors import Misconfigured
from promptmill.core.sinks.base import TableName
from promptmill.core.sinks.books import Books, Counts, read_tail
from promptmill.core.sinks.delta import DeltaReader, compact, vacuum
from promptmill.core.sinks.delta.reader import Snapshot
from promptmill_schemas import Contract
from support.fake_source import Log
from support.sink_loop import member
from support.store import DeltaStore, letter, pid, prompt, record, reject
from support.store_world import make_world
from support.waiting import eventually

pytestmark = pytest.mark.real


class Shop:
    """A store with books over it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = DeltaStore(folder)
        self.log = Log()
        self.reader = DeltaReader(str(folder))
        self.books = Books(self.reader, "test")

    async def take(self, *contracts: Contract) -> None:
        """Store these on shard 1, and whatever else is in the log."""
        self.log.put(1, *contracts)
        async with member(self.log, self.store.sink()) as one:
            await one.assign()
            total = sum(map(len, self.log.messages.values()))
            await eventually(lambda: sum(self.log.committed.values()) == total, 60)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Nothing is published."""
    return Shop(tmp_path / "store")


async def test_a_store_that_no_sink_has_made_is_empty(shop: Shop) -> None:
    assert shop.books.counts() == Counts(0, 0, 0, 0, 0)
    assert shop.books.missing() == []


async def test_every_prompt_is_counted_once(shop: Shop) -> None:
    log, expected = make_world(200)
    shop.log.messages |= log.messages
    await shop.take(prompt("late"))
    assert shop.books.counts() == Counts(
        published=201,
        accepted=len(expected.accepted),
        rejected=len(expected.rejected),
        dead=len(expected.dead),
        pending=1,
    )
    assert shop.books.missing() == [pid("late")]


async def test_books_that_are_kept_open_follow_the_tables(shop: Shop) -> None:
    await shop.take(prompt("a"), prompt("b"), prompt("c"))
    assert shop.books.counts() == Counts(3, 0, 0, 0, pending=3)
    await shop.take(record("a"), record("a", ordinal=1), letter("c"))
    assert shop.books.counts() == Counts(3, 1, 0, 1, pending=1)
    assert shop.books.missing() == [pid("b")]
    for table in TableName:
        compact(str(shop.folder / table), growth=1)
    await shop.take(reject("b"), letter("c", state="replayed"))
    assert shop.books.counts() == Counts(3, 1, 1, 0, pending=1)
    assert shop.books.missing() == [pid("c")]
    await shop.take(record("c", replays=1))
    assert shop.books.counts() == Counts(3, 2, 1, 0, pending=0)
    assert Books(shop.reader, "test").counts() == shop.books.counts()


async def test_other_runs_have_other_books(shop: Shop) -> None:
    await shop.take(prompt("a"), prompt("a", run="other"))
    assert shop.books.counts().published == 1
    assert Books(shop.reader, "nobody").counts() == Counts(0, 0, 0, 0, 0)


async def test_a_dead_letter_without_a_prompt_is_nobodys(shop: Shop) -> None:
    await shop.take(prompt("a"), letter(None))
    assert shop.books.counts() == Counts(1, 0, 0, 0, pending=1)


async def test_a_tail_holds_what_is_new_over_compactions(shop: Shop) -> None:
    await shop.take(record("a"), record("b"))
    first = read_tail(_records(shop), {})
    assert first.next == {1: 2}
    await shop.take(record("c"))
    compact(str(shop.folder / TableName.RECORDS), growth=1)
    second = read_tail(_records(shop), first.next, "test")
    assert second.rows["prompt_id"].to_pylist() == [pid("c")]
    assert read_tail(_records(shop), second.next).rows.num_rows == 0
    shop.log.put(0, record("d"))
    await shop.take()
    third = read_tail(_records(shop), second.next)
    assert third.rows["prompt_id"].to_pylist() == [pid("d")]
    assert read_tail(_records(shop), {}, "nobody").rows.num_rows == 0


def _records(shop: Shop) -> Snapshot:
    snapshot = shop.reader.snapshot(TableName.RECORDS)
    assert snapshot is not None
    return snapshot


async def test_a_vacuum_takes_no_file_that_is_needed(shop: Shop) -> None:
    await shop.take(record("a"))
    await shop.take(record("b"))
    assert compact(str(shop.folder / TableName.RECORDS), growth=1) == 2
    assert vacuum(str(shop.folder)) == {name: [] for name in TableName}
    with pytest.raises(Misconfigured, match="at least 2"):
        vacuum(str(shop.folder), retention_hours=1)
    assert shop.books.counts().accepted == 2
