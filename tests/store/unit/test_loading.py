"""The index of a shard is the same whether it was built by the rules or from the tables."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.lake.ports import TableName
from promptmill.lake.tables import TABLES
from promptmill.store.index import SettledIndex
from promptmill.store.loading import load_indexes
from promptmill.store.plan import draw_up
from promptmill.stream.ports import Delivery, Partition
from promptmill_schemas import Contract, DeadLetter, encode
from support.fake_source import every_partition, topic_of
from support.store import SharedStore, letter, pid, prompt, record, reject
from support.store_audit import latest_letters

TEXTS = ("a", "b", "c")
TOPICS = {spec.topic.name: name for name, spec in TABLES.items()}


def messages() -> st.SearchStrategy[Contract]:
    """Anything about three prompts."""
    text, replays = st.sampled_from(TEXTS), st.integers(0, 2)
    decision = st.sampled_from(("first", "second"))
    state = st.sampled_from(("dead", "replayed"))
    return st.one_of(
        st.builds(prompt, text),
        st.builds(record, text, decision=decision, ordinal=st.integers(0, 1), replays=replays),
        st.builds(reject, text, decision=decision, replays=replays),
        st.builds(_letter, text, replays=replays, state=state),
        st.builds(letter, st.none(), offset=st.integers(10, 12), state=state),
    )


def _letter(text: str, *, replays: int, state: str) -> DeadLetter:
    """Where its original stands says which letter it is."""
    return letter(text, replays=replays, state=state, offset=TEXTS.index(text))


@settings(deadline=None)
@given(st.lists(messages(), max_size=30), st.integers(1, 10))
def test_an_index_read_back_decides_like_the_one_that_was_kept(
    contracts: list[Contract], flush: int
) -> None:
    store = SharedStore()
    sink = store.sink()
    sink.take_over([0])
    kept = {0: SettledIndex()}
    stored: dict[Partition, int | None] = dict.fromkeys(every_partition(0))
    for start in range(0, len(contracts), flush):
        batch = [
            Delivery(Partition(topic_of(contract), 0), start + index, None, encode(contract))
            for index, contract in enumerate(contracts[start : start + flush])
        ]
        plan = draw_up(batch, TOPICS, kept, stored)
        for table, rows in plan.batches.items():
            sink.commit(table, rows)
        stored |= plan.positions
    read = load_indexes(sink, [0])[0]
    for text in TEXTS:
        assert read.prompt_state(pid(text)) == kept[0].prompt_state(pid(text))
        assert read.letter_of(pid(text)) == kept[0].letter_of(pid(text))
    for row in store.rows(TableName.RECORDS):
        assert read.has_record(row["record_id"])
    for row in store.rows(TableName.DEAD_LETTERS):
        if row["prompt_id"] is None:
            assert read.has_letter(row["letter_id"])
    for table in TableName:
        number = kept[0].counts.of(table).get("test", 0)
        assert read.counts.of(table).get("test", 0) == number
        assert store.memory.tables[table].counts.get((0, "test"), 0) == number
        assert number == _prompts(store, table)
    check_outcomes(store)


def _prompts(store: SharedStore, table: TableName) -> int:
    """How many prompts the rows of the table are about; of letters, those that say dead."""
    rows = store.rows(table)
    if table is TableName.DEAD_LETTERS:
        rows = [row for row in latest_letters(rows) if row["state"] == "dead"]
    return len({row["prompt_id"] for row in rows} - {None})


def check_outcomes(store: SharedStore) -> None:
    """No id twice, and no prompt in two tables."""
    accepted = {row["prompt_id"] for row in store.rows(TableName.RECORDS)}
    rejected = [row["prompt_id"] for row in store.rows(TableName.REJECTS)]
    dead = [
        row["prompt_id"]
        for row in latest_letters(store.rows(TableName.DEAD_LETTERS))
        if row["state"] == "dead" and row["prompt_id"]
    ]
    records = [row["record_id"] for row in store.rows(TableName.RECORDS)]
    for ids in (records, rejected, dead):
        assert len(ids) == len(set(ids))
    assert accepted.isdisjoint(rejected)
    assert (accepted | set(rejected)).isdisjoint(dead)
