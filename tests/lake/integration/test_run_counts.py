"""Run counts are exact at every moment, whatever the tables' files look like."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from promptmill.cli.counts import OutcomeCounts
from promptmill.cli.store_counts import DeltaCounts
from promptmill.lake.compaction import compact
from promptmill.lake.counts import Counts, RunCounter, read_tail
from promptmill.lake.ports import TableName
from promptmill.lake.reader import DeltaReader, Snapshot
from promptmill.lake.transactions import AppTransactions
from promptmill.lake.vacuum import vacuum
from promptmill.runtime.errors import Unavailable
from promptmill_schemas import Contract
from support.fake_source import Log
from support.mixed_log import make_mixed_log
from support.sink_loop import member
from support.store import DeltaStore, letter, pid, prompt, record, reject
from support.waiting import eventually

pytestmark = pytest.mark.real


class Shop:
    """A store and the counter of a run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = DeltaStore(folder)
        self.log = Log()
        self.reader = DeltaReader(str(folder))
        self.counter = RunCounter(self.reader, "test")

    async def take(self, *contracts: Contract) -> None:
        """Store these on shard 1, and whatever else is in the log."""
        self.log.put(1, *contracts)
        async with member(self.log, self.store.sink()) as one:
            await one.assign()
            total = sum(map(len, self.log.messages.values()))
            await eventually(lambda: sum(self.log.committed.values()) == total, 60)

    def counts(self) -> Counts:
        """What the rows say; the numbers that sinks keep by run say the same."""
        found = self.counter.counts()
        kept = {name: self.reader.run_count(name, "test") for name in TableName}
        assert {name: count and count.prompts for name, count in kept.items()} == {
            TableName.PROMPTS: len(set(chain.from_iterable(delta_counts(self).prompt_ids("test")))),
            TableName.RECORDS: found.accepted,
            TableName.REJECTS: found.rejected,
            TableName.DEAD_LETTERS: found.dead,
        }
        settled = set(chain.from_iterable(delta_counts(self).settled_ids("test")))
        assert len(settled) == found.accepted + found.rejected + found.dead
        return found


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Nothing is published."""
    return Shop(tmp_path / "store")


async def test_a_store_that_no_sink_has_made_is_empty(shop: Shop) -> None:
    assert shop.counts() == Counts(0, 0, 0, 0, 0)
    assert shop.counter.missing() == []


async def test_every_prompt_is_counted_once(shop: Shop) -> None:
    log, expected = make_mixed_log(200)
    shop.log.messages |= log.messages
    await shop.take(prompt("late"))
    assert shop.counts() == Counts(
        published=201,
        accepted=len(expected.accepted),
        rejected=len(expected.rejected),
        dead=len(expected.dead),
        pending=1,
    )
    assert shop.counter.missing() == [pid("late")]


async def test_a_counter_that_is_kept_follows_the_tables(shop: Shop) -> None:
    await shop.take(prompt("a"), prompt("b"), prompt("c"))
    assert shop.counts() == Counts(3, 0, 0, 0, pending=3)
    await shop.take(record("a"), record("a", ordinal=1), letter("c"))
    assert shop.counts() == Counts(3, 1, 0, 1, pending=1)
    assert shop.counter.missing() == [pid("b")]
    for table in TableName:
        compact(str(shop.folder / table), growth=1)
    await shop.take(reject("b"), letter("c", state="replayed"))
    assert shop.counts() == Counts(3, 1, 1, 0, pending=1)
    assert shop.counter.missing() == [pid("c")]
    await shop.take(record("c", replays=1))
    assert shop.counts() == Counts(3, 2, 1, 0, pending=0)
    assert RunCounter(shop.reader, "test").counts() == shop.counts()


async def test_each_run_has_its_own_counts(shop: Shop) -> None:
    await shop.take(prompt("a"), prompt("a", run="other"))
    assert shop.counts().published == 1
    assert RunCounter(shop.reader, "nobody").counts() == Counts(0, 0, 0, 0, 0)


async def test_a_dead_letter_without_a_prompt_is_nobodys(shop: Shop) -> None:
    await shop.take(prompt("a"), letter(None))
    assert shop.counts() == Counts(1, 0, 0, 0, pending=1)


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
    assert shop.counts().accepted == 2


async def test_rows_of_an_earlier_version_are_counted_when_a_sink_takes_them_over(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(AppTransactions, "numbers", _without_counts(AppTransactions.numbers))
        await shop.take(prompt("a"), prompt("b"), record("a"), record("a", ordinal=1), letter("b"))
    for name in (TableName.PROMPTS, TableName.RECORDS, TableName.DEAD_LETTERS):
        assert shop.reader.run_count(name, "test") is None
    assert delta_counts(shop).settled("test") == OutcomeCounts(accepted=1, dead=1)
    assert delta_counts(shop).published("test").prompts == 2
    await shop.take(record("c"), prompt("c", run="other"))
    assert (shop.counts().accepted, shop.counts().dead) == (2, 1)
    assert delta_counts(shop).settled("test") == OutcomeCounts(accepted=2, dead=1)
    assert delta_counts(shop).published("other").prompts == 1


async def test_the_next_look_reads_no_rows_and_asks_for_no_number_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cost of a poll is that of the commits since the last one, whatever the store's size."""
    await shop.take(prompt("a"))
    counts = delta_counts(shop)
    assert counts.published("test").prompts == 1
    await shop.take(prompt("b"))

    def refuse(*_arguments: object, **_options: object) -> None:
        raise AssertionError("a row was read, or a number was asked for again")

    monkeypatch.setattr(Snapshot, "scan", refuse)
    monkeypatch.setattr(AppTransactions, "_ask", refuse)
    assert counts.published("test").prompts == 2


def delta_counts(shop: Shop) -> DeltaCounts:
    """What `status` asks."""
    return DeltaCounts(shop.reader)


def _without_counts(numbers: Callable[..., dict[str, int]]) -> Callable[..., dict[str, int]]:
    def without(*arguments: Any) -> dict[str, int]:
        return {app: n for app, n in numbers(*arguments).items() if "/run/" not in app}

    return without


async def test_ids_are_looked_up_in_their_own_run_only(shop: Shop) -> None:
    run = "other"
    await shop.take(prompt("a"), prompt("b"), prompt("a", run=run), record("b"))
    counts, ids = delta_counts(shop), [pid("a"), pid("b"), pid("c"), pid("a", run)]
    assert set(chain.from_iterable(counts.prompt_ids("test", ids))) == {pid("a"), pid("b")}
    assert set(chain.from_iterable(counts.prompt_ids(run, ids))) == {pid("a", run)}
    assert set(chain.from_iterable(counts.settled_ids("test", ids))) == {pid("b")}
    assert list(counts.prompt_ids("test", [])) == []
    quoting = "' OR run <> 'x"
    assert list(counts.prompt_ids(quoting, [quoting])) == []
    assert counts.has_none("another")
    assert not counts.has_none(run)


async def test_a_file_that_is_missing_is_named(shop: Shop) -> None:
    await shop.take(prompt("a"))
    for file in (shop.folder / "prompts").glob("*.parquet"):
        file.unlink()
    with pytest.raises(Unavailable, match=r"prompts.* cannot be read"):
        list(delta_counts(shop).prompt_ids("test"))
