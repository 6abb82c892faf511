"""What keeps two writers of one Delta store apart, where the library alone would not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from promptmill.lake.compaction import compact
from promptmill.lake.ports import Fenced, Sink, TableName
from promptmill.lake.sink import DeltaSink
from promptmill.lake.table import TableSettings
from promptmill.runtime.errors import Misconfigured, Unavailable
from support.store import DeltaStore, batch, identities, letter, pid, record, rows, table_of
from support.store_audit import latest_letters

pytestmark = pytest.mark.real

RECORDS, REJECTS, LETTERS = TableName.RECORDS, TableName.REJECTS, TableName.DEAD_LETTERS


@pytest.fixture
def store(tmp_path: Path) -> DeltaStore:
    """An empty store."""
    return DeltaStore(tmp_path / "store")


def stored(store: DeltaStore) -> list[str]:
    """The prompts of all records, sorted; duplicates show."""
    return sorted(row["prompt_id"] for row in store.rows(RECORDS))


class Meanwhile:
    """Does something once, in the middle of another writer's commit."""

    def __init__(self, step: str) -> None:
        self.step = step
        self.act: Callable[[], object] | None = None

    def __call__(self, step: str) -> None:
        if step == self.step and self.act is not None:
            act, self.act = self.act, None
            thread = threading.Thread(target=act)  # the library calls back from its own
            thread.start()
            thread.join()


def test_the_library_refuses_no_version_that_goes_back(store: DeltaStore) -> None:
    """Why every commit compares what it has read before: the library would take this."""
    sink = store.sink()
    sink.take_over([0])
    sink.commit(RECORDS, batch([(0, 9, record("a"))], {0: (None, 10)}))
    back = [Transaction("promptmill/records-0", 3, None)]
    table = DeltaTable(str(store.folder / RECORDS))
    write_deltalake(
        table,
        rows([(0, 2, record("b"))]),
        mode="append",
        commit_properties=CommitProperties(app_transactions=back),
    )
    assert table.transaction_version("promptmill/records-0") == 3


@pytest.mark.parametrize("step", ["checked:records", "written:records"])
def test_a_claim_in_the_middle_of_a_commit_wins(store: DeltaStore, step: str) -> None:
    meanwhile = Meanwhile(step)
    zombie, owner = store.sink(step=meanwhile), store.sink()
    zombie.take_over([0])
    meanwhile.act = lambda: owner.take_over([0])
    with pytest.raises(Fenced):
        zombie.commit(RECORDS, batch([(0, 0, record("a"))], {0: (None, 1)}))
    owner.commit(RECORDS, batch([(0, 0, record("a"))], {0: (None, 1)}))
    assert stored(store) == [pid("a")]


def test_a_commit_in_the_middle_of_a_claim_is_seen_by_the_owner(store: DeltaStore) -> None:
    """The claim of one table is refused and repeated, and then finds the other's rows."""
    meanwhile = Meanwhile("claimed:prompts")
    first = store.sink()
    owner = store.sink(step=meanwhile)
    first.take_over([0])
    meanwhile.act = lambda: first.commit(RECORDS, batch([(0, 0, record("a"))], {0: (None, 1)}))
    ownership = owner.take_over([0])
    assert ownership.next_offsets[RECORDS] == {0: 1}
    found = [row["prompt_id"] for part in owner.ids(RECORDS, [0]) for row in part.to_pylist()]
    assert found == [pid("a")]
    with pytest.raises(Fenced):
        first.commit(REJECTS, batch([], {0: (None, 1)}, REJECTS))


@pytest.mark.parametrize("step", ["checked:records", "written:records"])
def test_other_shards_commit_in_between(store: DeltaStore, step: str) -> None:
    meanwhile = Meanwhile(step)
    one, two = store.sink(step=meanwhile), store.sink()
    one.take_over([0])
    two.take_over([1])
    meanwhile.act = lambda: two.commit(RECORDS, batch([(1, 0, record("b"))], {1: (None, 1)}))
    one.commit(RECORDS, batch([(0, 0, record("a"))], {0: (None, 1)}))
    assert stored(store) == sorted([pid("a"), pid("b")])


def test_sinks_that_claim_at_the_same_time_end_with_one_owner(store: DeltaStore) -> None:
    sinks = [store.sink() for _ in range(4)]
    threads = [threading.Thread(target=sink.take_over, args=([0, 1, 2, 3],)) for sink in sinks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    owners = [sink for sink in sinks if _can_commit(sink)]
    assert len(owners) <= 1


def _can_commit(sink: Sink) -> bool:
    try:
        for table in TableName:
            sink.commit(table, batch([], {0: (None, 1)}, table))
    except Fenced:
        return False
    return True


def test_a_commit_whose_answer_was_lost_is_recognised(store: DeltaStore) -> None:
    """The log entry was written, then the process was told that something failed."""
    is_lost = True

    def lose(step: str) -> None:
        if is_lost and step == "committed:records":
            raise Unavailable("the answer was lost")

    sink = store.sink(step=lose)
    sink.take_over([0])
    work = batch([(0, 0, record("a"))], {0: (None, 1)})
    with pytest.raises(Unavailable):
        sink.commit(RECORDS, work)
    is_lost = False
    sink.commit(RECORDS, work)
    sink.commit(RECORDS, batch([(0, 1, record("b"))], {0: (1, 2)}))
    assert stored(store) == sorted([pid("a"), pid("b")])


def test_a_commit_that_took_too_long_is_read_back(store: DeltaStore) -> None:
    """A process that was stopped inside it may have written into a log that was cleaned."""
    times = iter([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 100.0, 200.0])
    sink = DeltaSink(str(store.folder), identities(), clock=lambda: next(times, 300.0))
    sink.open()
    sink.take_over([0])
    work = batch([(0, 0, record("a"))], {0: (None, 1)})
    with pytest.raises(Unavailable, match="took 100 s"):
        sink.commit(RECORDS, work)
    sink.commit(RECORDS, work)
    assert stored(store) == [pid("a")]


def test_a_writer_that_slept_while_the_log_was_cleaned_goes_on(store: DeltaStore) -> None:
    settings = TableSettings(checkpoint_every=5, log_retention="interval 0 seconds")
    sleeper = DeltaSink(str(store.folder), identities(), settings=settings)
    sleeper.open()
    sleeper.take_over([0])
    other = store.sink()
    other.take_over([1])
    for offset in range(20):
        other.commit(
            RECORDS, batch([(1, offset, record(str(offset)))], {1: (offset or None, offset + 1)})
        )
    log = sorted((store.folder / RECORDS / "_delta_log").glob("*.json"))
    assert len(log) < 15
    sleeper.commit(RECORDS, batch([(0, 0, record("a"))], {0: (None, 1)}))
    assert len(stored(store)) == 21


def test_two_compactions_at_once_do_not_double_the_rows(store: DeltaStore) -> None:
    sink = store.sink()
    sink.take_over([0])
    for offset in range(6):
        sink.commit(
            RECORDS, batch([(0, offset, record(str(offset)))], {0: (offset or None, offset + 1)})
        )
    threads = [
        threading.Thread(target=compact, args=(str(store.folder / RECORDS),), kwargs={"growth": 1})
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stored(store)) == len(set(stored(store))) == 6
    assert len(DeltaTable(str(store.folder / RECORDS)).file_uris()) == 1


def test_two_of_the_librarys_compactions_would_double_the_rows(store: DeltaStore) -> None:
    """When this fails, the library has been repaired and its own compaction can be used."""
    sink = store.sink()
    sink.take_over([0])
    for offset in range(4):
        sink.commit(
            RECORDS, batch([(0, offset, record(str(offset)))], {0: (offset or None, offset + 1)})
        )
    one, two = (DeltaTable(str(store.folder / RECORDS)) for _ in range(2))
    one.optimize.compact()
    two.optimize.compact()
    assert len(stored(store)) == 8


def test_commits_marks_and_compactions_in_each_others_way_all_come_through(
    store: DeltaStore,
) -> None:
    writer, marker = store.sink(), store.sink()
    writer.take_over([0])
    marker.take_over([1])
    letters = [letter(str(number), offset=number) for number in range(20)]
    marker.commit(
        LETTERS, batch([(1, i, each) for i, each in enumerate(letters)], {1: (None, 20)}, LETTERS)
    )

    def mark() -> None:
        for each in letters:
            note = each.model_copy(update={"state": "replayed"})
            marker.commit(LETTERS, batch([(1, -1, note)], {1: (20, 20)}, LETTERS))

    def merge() -> None:
        for _ in range(10):
            compact(str(store.folder / LETTERS), growth=1)

    threads = [threading.Thread(target=mark), threading.Thread(target=merge)]
    for thread in threads:
        thread.start()
    for offset in range(20):
        step = {0: (offset or None, offset + 1)}
        made = letter(None, offset=100 + offset)
        writer.commit(LETTERS, batch([(0, offset, made)], step, LETTERS))
    for thread in threads:
        thread.join()
    assert len(store.rows(LETTERS)) == 60
    found = latest_letters(store.rows(LETTERS))
    assert len(found) == len({row["letter_id"] for row in found}) == 40
    assert {row["state"] for row in found if row["shard"] == 1} == {"replayed"}


def test_a_table_with_other_columns_is_refused(store: DeltaStore) -> None:
    table = table_of(record("a"))
    DeltaTable.create(
        str(store.folder / table),
        rows([(0, 0, record("a"))]).select(["record_id", "shard"]).schema,
        configuration=identities()[table].as_properties(),
        raise_if_key_not_exists=False,
    )
    with pytest.raises(Misconfigured, match="prompt_id"):
        store.sink()


def test_sinks_that_start_at_the_same_time_share_one_store(store: DeltaStore) -> None:
    failures: list[BaseException] = []

    def start() -> None:
        try:
            store.sink()
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert all(DeltaTable(str(store.folder / name)).version() == 0 for name in TableName)
