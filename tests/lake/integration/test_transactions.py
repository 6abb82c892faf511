"""A sink follows what others commit, without asking the table for each of its shards again."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from promptmill.lake.compaction import compact
from promptmill.lake.ports import COUNTED, Fenced, Sink, TableName
from promptmill.lake.sink import DeltaSink
from promptmill.lake.table import TableHandle, TableSettings
from promptmill.lake.transactions import (
    AppTransactions,
    epoch_id,
    last_id,
    log_entries,
    position_id,
)
from support.store import DeltaStore, batch, identities, record

pytestmark = pytest.mark.real

RECORDS = TableName.RECORDS
TOPIC = identities()[RECORDS].topic
SHARDS = range(12)


@pytest.fixture
def store(tmp_path: Path) -> DeltaStore:
    """An empty store, in a folder whose name a URI writes otherwise."""
    return DeltaStore(tmp_path / "a store, ü")


class Asked:
    """Counts how often the library is asked for an application id."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        ask = DeltaTable.transaction_version

        def counted(table: DeltaTable, app: str) -> int | None:
            self.times += 1
            return ask(table, app)

        monkeypatch.setattr(DeltaTable, "transaction_version", counted)


def advance(sink: Sink, shards: range, round_: int) -> None:
    """One commit that moves all of these shards by one."""
    made = [(shard, round_, record(f"{shard}/{round_}")) for shard in shards]
    moved = batch(made, dict.fromkeys(shards, (round_ or None, round_ + 1)))
    sink.commit(RECORDS, replace(moved, counts={(shard, COUNTED): 1 for shard in shards}))


def truth(table: DeltaTable) -> list[tuple[int, int | None, int | None]]:
    """Epoch, position and last message of each shard, from a handle that has seen nothing."""
    ids = ((epoch_id(TOPIC, s), position_id(TOPIC, s), last_id(TOPIC, s)) for s in SHARDS)
    asked = [[table.transaction_version(app) for app in three] for three in ids]
    return [(epoch or 0, position, last) for epoch, position, last in asked]


def told(
    transactions: AppTransactions, table: DeltaTable
) -> list[tuple[int, int | None, int | None]]:
    """The same from the application transactions that were read."""
    return [(*transactions.entry(table, s), transactions.last_message(table, s)) for s in SHARDS]


def test_nothing_is_asked_after_another_sinks_commits(
    store: DeltaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = store.sink(), store.sink()
    one.take_over(SHARDS[:6])
    two.take_over(SHARDS[6:])
    asked = Asked(monkeypatch)
    for round_ in range(60):  # beyond one life of a handle
        advance(one, SHARDS[:6], round_)
        advance(two, SHARDS[6:], round_)
    one.take_over(SHARDS[:6])
    assert asked.times == 0


@pytest.mark.parametrize("seed", range(2))
def test_app_transactions_agree_with_the_table_whatever_others_do(
    seed: int, store: DeltaStore
) -> None:
    rng = random.Random(seed)
    settings = TableSettings(checkpoint_every=7, log_retention="interval 0 seconds")
    sinks = [DeltaSink(str(store.folder), identities(), settings=settings) for _ in range(3)]
    for sink in sinks:
        sink.open()
    handle = TableHandle(str(store.folder / RECORDS))
    transactions = AppTransactions(TOPIC)
    for _ in range(60):
        _disturb(store, rng.choice(sinks), rng)
        if rng.random() < 0.4:
            fresh = DeltaTable(str(store.folder / RECORDS))
            assert told(transactions, handle.latest()) == truth(fresh)


@pytest.mark.parametrize("seed", range(2))
def test_numbers_that_are_read_together_are_those_of_the_table(
    seed: int, store: DeltaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    sinks = [DeltaSink(str(store.folder), identities()) for _ in range(2)]
    settings = TableSettings(checkpoint_every=7)
    sinks.append(DeltaSink(str(store.folder), identities(), settings=settings))
    for sink in sinks:
        sink.open()
    path = str(store.folder / RECORDS)
    for _ in range(20):
        _disturb(store, rng.choice(sinks), rng)
    expected = truth(DeltaTable(path))
    assert any(position is not None for _, position, _ in expected)
    asked, transactions = Asked(monkeypatch), AppTransactions(TOPIC)
    transactions.load(DeltaTable(path), SHARDS)
    assert told(transactions, DeltaTable(path)) == expected
    assert asked.times == 0


@pytest.mark.parametrize("damage", ["missing", "torn", "later", "in parts", "cleaned"])
def test_a_log_of_another_form_is_asked(
    damage: str, store: DeltaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = store.sink()
    sink.take_over(SHARDS)
    advance(sink, SHARDS, 0)
    path = str(store.folder / RECORDS)
    table = DeltaTable(path)
    table.create_checkpoint()
    for round_ in range(1, 4):
        advance(sink, SHARDS, round_)
    hint, expected = store.folder / RECORDS / "_delta_log" / "_last_checkpoint", truth(table)
    if damage == "missing":
        hint.unlink()
    elif damage == "torn":
        hint.write_bytes(hint.read_bytes()[:9])
    elif damage == "later":
        DeltaTable(path).create_checkpoint()
    elif damage == "in parts":
        hint.write_bytes(hint.read_bytes().replace(b"{", b'{"parts":2,', 1))
    else:
        (hint.parent / f"{table.version():020}.checkpoint.parquet").unlink()
    asked, transactions = Asked(monkeypatch), AppTransactions(TOPIC)
    transactions.load(table, SHARDS)
    assert asked.times == 0
    assert told(transactions, table) == expected
    assert asked.times == 3 * len(SHARDS)


def _disturb(store: DeltaStore, sink: Sink, rng: random.Random) -> None:
    """Take some shards and store a message of each, or merge files."""
    if rng.random() < 0.2:
        compact(str(store.folder / RECORDS), growth=1)
        return
    shards = rng.sample(SHARDS, 4)
    positions = sink.take_over(shards).next_offsets[RECORDS]
    steps = {shard: (at, (at or 0) + 1) for shard, at in positions.items()}
    made = [(s, at or 0, record(uuid4().hex)) for s, (at, _) in steps.items()]
    sink.commit(RECORDS, batch(made, steps))


def test_a_log_that_was_cleaned_meanwhile_is_asked(
    store: DeltaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = store.sink()
    sink.take_over(SHARDS)
    transactions, path = AppTransactions(TOPIC), str(store.folder / RECORDS)
    told(transactions, DeltaTable(path))
    for round_ in range(3):
        advance(sink, SHARDS, round_)
    table = DeltaTable(path)
    table.create_checkpoint()
    (store.folder / RECORDS / "_delta_log" / f"{table.version() - 1:020}.json").unlink()
    expected, asked = truth(DeltaTable(path)), Asked(monkeypatch)
    assert told(transactions, DeltaTable(path)) == expected
    assert asked.times == 3 * len(SHARDS)


def test_another_table_at_the_same_place_is_asked(store: DeltaStore) -> None:
    first = store.sink()
    first.take_over(SHARDS)
    advance(first, SHARDS, 0)
    transactions, path = AppTransactions(TOPIC), str(store.folder / RECORDS)
    assert transactions.entry(DeltaTable(path), 0) == (1, 1)
    store.folder.rename(store.folder.with_name("aside"))
    second = store.sink()
    for _ in range(3):  # its version passes the first one's
        second.take_over(SHARDS[1:])
        advance_to = second.take_over(SHARDS[1:]).next_offsets[RECORDS][1] or 0
        advance(second, SHARDS[1:], advance_to)
    assert transactions.entry(DeltaTable(path), 0) == (0, None)


def test_a_claim_read_from_the_log_fences(store: DeltaStore) -> None:
    zombie, owner = store.sink(), store.sink()
    zombie.take_over(SHARDS)
    advance(zombie, SHARDS, 0)
    owner.take_over(SHARDS[3:4])
    with pytest.raises(Fenced, match="3"):
        advance(zombie, SHARDS, 1)


def test_log_entries_are_the_same_through_the_library_and_from_local_files(tmp_path: Path) -> None:
    folder = tmp_path / "a table, ü"
    table = pa.table({"number": [1]})
    for _ in range(3):
        write_deltalake(folder, table, mode="append")
    uri = DeltaTable(folder).table_uri
    assert uri.startswith("file://")
    local = list(log_entries(uri, None, range(3)))
    assert local == list(log_entries(str(folder), None, range(3)))
    assert len(local) == 3
    for each in (uri, str(folder)):
        with pytest.raises(FileNotFoundError):
            list(log_entries(each, None, [7]))


def test_counts_that_do_not_change_are_committed_once(store: DeltaStore) -> None:
    sink = store.sink()
    sink.take_over(SHARDS)
    for round_ in range(3):
        advance(sink, SHARDS, round_)
    table = DeltaTable(str(store.folder / RECORDS))
    versions = range(table.version() - 2, table.version() + 1)
    marks = [entry.count(b"/run/") for entry in log_entries(table.table_uri, None, versions)]
    assert marks == [len(SHARDS), 0, 0]
    assert all(AppTransactions(TOPIC).is_counted(table, shard) for shard in SHARDS)
