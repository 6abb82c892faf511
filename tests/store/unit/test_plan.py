"""A plan says what a flush does, piece by piece, and loses nothing of what it was drawn from."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pytest

from promptmill.lake.ports import Advance, TableName
from promptmill.lake.tables import TABLES
from promptmill.store import plan as plan_module
from promptmill.store.index import SettledIndex
from promptmill.store.plan import Plan, draw_up
from promptmill.stream.ports import Delivery, Partition
from promptmill_schemas import Contract, decode, encode
from promptmill_schemas.limits import MAX_ORIGINAL_BYTES
from support.fake_source import every_partition, topic_of
from support.store import letter, pid, prompt, record, reject

RECORDS, REJECTS = TableName.RECORDS, TableName.REJECTS
LETTERS, PROMPTS = TableName.DEAD_LETTERS, TableName.PROMPTS
TOPICS = {spec.topic.name: name for name, spec in TABLES.items()}


def deliveries(shard: int, *contracts: Contract | bytes, topic: str = "") -> list[Delivery]:
    """Contracts (or bytes, on ``topic``) as messages, each topic from offset 10."""
    ends = dict[str, int]()
    made = []
    for contract in contracts:
        name = topic if isinstance(contract, bytes) else topic_of(contract)
        value = contract if isinstance(contract, bytes) else encode(contract)
        offset = ends.setdefault(name, 10)
        ends[name] += 1
        made.append(Delivery(Partition(name, shard), offset, None, value))
    return made


def draw(batch: Sequence[Delivery], *indexes: SettledIndex) -> Plan:
    """A plan over shards 0 and 1 whose tables all stand at 10."""
    known = dict(enumerate(indexes)) if indexes else {0: SettledIndex(), 1: SettledIndex()}
    return draw_up(batch, TOPICS, known, dict.fromkeys(every_partition(0, 1), 10))


def rows_of(plan: Plan, table: TableName) -> list[dict[str, object]]:
    """The rows of one commit."""
    return [dict(row) for row in plan.batches[table].rows.to_pylist()]


def letters_of(plan: Plan) -> list[tuple[object, object, object]]:
    """Letter, state and offset of the rows for ``dead_letters``."""
    names = ("letter_id", "state", "shard_offset")
    return [(row[names[0]], row[names[1]], row[names[2]]) for row in rows_of(plan, LETTERS)]


def test_messages_become_one_commit_for_each_table() -> None:
    batch = [
        *deliveries(0, prompt("a"), prompt("b"), record("a"), reject("b")),
        *deliveries(1, record("c")),
    ]
    plan = draw(batch)
    assert list(plan.batches) == [PROMPTS, RECORDS, REJECTS]
    assert plan.batches[PROMPTS].advances == {0: Advance(10, 12)}
    assert plan.batches[RECORDS].advances == {0: Advance(10, 11), 1: Advance(10, 11)}
    kept = [(row["shard"], row["shard_offset"]) for row in rows_of(plan, RECORDS)]
    assert kept == [(0, 10), (1, 10)]
    assert plan.counts == {(PROMPTS, "kept"): 2, (RECORDS, "kept"): 2, (REJECTS, "kept"): 1}


def test_what_is_dropped_still_moves_the_position() -> None:
    plan = draw(deliveries(0, record("a"), record("a"), record("a", decision="second")))
    assert len(rows_of(plan, RECORDS)) == 1
    assert plan.batches[RECORDS].advances == {0: Advance(10, 13)}
    assert plan.counts[RECORDS, "duplicate"] == 1
    assert plan.counts[RECORDS, "variant"] == 1


def test_what_is_no_decision_is_buried_and_what_is_no_prompt_is_left_to_instruct() -> None:
    batch = [
        *deliveries(0, b"{}", topic="records"),
        *deliveries(0, b"\xff", topic="rejects"),
        *deliveries(0, b"no", topic="prompts"),
    ]
    plan = draw(batch)
    assert [
        undecodable_message.delivery.partition.topic for undecodable_message in plan.undecodable
    ] == ["records", "rejects"]
    assert "record_id" in plan.undecodable[0].detail
    assert {p.topic: offset for p, offset in plan.positions.items()} == {
        "records": 11,
        "rejects": 11,
        "prompts": 11,
    }


def test_bytes_that_are_no_dead_letter_keep_a_row() -> None:
    (row,) = rows_of(draw(deliveries(0, b"\xff", topic="dead-letters")), LETTERS)
    assert (row["reason"], row["value"], row["topic"], row["offset"]) == (
        "undecodable",
        "/w==",
        "dead-letters",
        10,
    )


def test_a_number_that_no_column_holds_is_buried_not_stored() -> None:
    huge = record("a").model_copy(update={"replays": 2**63})
    index = SettledIndex()
    plan = draw(deliveries(0, huge, reject("a")), index)
    assert len(plan.undecodable) == 1
    assert len(rows_of(plan, REJECTS)) == 1


def test_a_replay_noted_in_the_same_flush_is_a_further_row() -> None:
    batch = deliveries(0, letter("a"), letter("b", offset=1), letter("a", state="replayed"))
    plan = draw(batch)
    one, two = letter("a").letter_id, letter("b", offset=1).letter_id
    assert letters_of(plan) == [(one, "dead", 10), (two, "dead", 11), (one, "replayed", -1)]


def test_a_second_death_in_the_same_flush_marks_the_first_only() -> None:
    plan = draw(deliveries(0, letter("a"), letter("a", replays=1)))
    one, two = letter("a").letter_id, letter("a", replays=1).letter_id
    assert letters_of(plan) == [(one, "dead", 10), (one, "replayed", -1), (two, "dead", 11)]


def test_a_replayed_record_marks_the_letter_of_its_prompt() -> None:
    plan = draw(deliveries(0, letter("a"), record("a", replays=1)))
    one = letter("a").letter_id
    assert letters_of(plan) == [(one, "dead", 10), (one, "replayed", -1)]
    assert list(plan.batches) == [LETTERS, RECORDS]


def test_a_mark_without_a_message_of_its_table_moves_nothing() -> None:
    index = SettledIndex()
    draw(deliveries(0, letter("a")), index)
    plan = draw(deliveries(0, record("a", replays=1)), index)
    assert letters_of(plan) == [(letter("a").letter_id, "replayed", -1)]
    assert plan.batches[LETTERS].advances == {0: Advance(10, 10)}
    (row,) = rows_of(plan, LETTERS)
    assert (row["topic"], row["offset"], row["prompt_id"]) == ("records", 10, pid("a"))
    assert row["value"] is None
    assert list(plan.batches) == [LETTERS, RECORDS]
    assert plan.without({0}).batches[LETTERS].advances == {}


def test_a_lost_shard_leaves_the_plan_whole_for_the_others() -> None:
    batch = [
        *deliveries(0, prompt("a"), record("a"), letter("d"), record("d", replays=1)),
        *deliveries(1, prompt("b"), record("b"), b"{}", topic="rejects"),
    ]
    plan = draw(batch).without({0})
    assert plan.shards == {1}
    assert [row["prompt_id"] for row in rows_of(plan, RECORDS)] == [pid("b")]
    assert plan.batches[RECORDS].advances == {1: Advance(10, 11)}
    assert LETTERS not in plan.batches or rows_of(plan, LETTERS) == []
    assert len(plan.undecodable) == 1
    assert draw(batch).without({1}).undecodable == ()


def test_a_plan_of_many_rows_keeps_their_order() -> None:
    batch = deliveries(0, *(record(str(number)) for number in range(2500)))
    kept = [row["shard_offset"] for row in rows_of(draw(batch), RECORDS)]
    assert kept == list(range(10, 2510))


def test_whatever_reading_a_message_raises_the_plan_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(contract: type[Contract], raw: bytes | None) -> Contract:
        if raw == b"bad":
            raise RecursionError
        return decode(contract, raw)

    monkeypatch.setattr("promptmill.store.plan.decode", fails)
    bad = [d for spec in TABLES.values() for d in deliveries(0, b"bad", topic=spec.topic.name)]
    plan = draw([*bad, *deliveries(1, record("a"))])
    assert [b.delivery.partition.topic for b in plan.undecodable] == ["records", "rejects"]
    assert [row["reason"] for row in rows_of(plan, LETTERS)] == ["undecodable"]
    assert len(rows_of(plan, RECORDS)) == 1


def test_a_row_that_no_column_takes_is_buried_and_the_others_are_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = plan_module._as_table

    def picky(table: TableName, rows: list[dict[str, object]]) -> pa.Table:
        if any(row["shard_offset"] == 11 and row.get("stage") != "store" for row in rows):
            raise pa.ArrowInvalid("out of range")
        return whole(table, rows)

    monkeypatch.setattr(plan_module, "_as_table", picky)
    batch = [
        *deliveries(0, record("a"), record("b"), record("c")),
        *deliveries(1, letter(None, offset=1), letter(None, offset=2), letter(None, offset=3)),
    ]
    plan = draw(batch)
    assert [row["shard_offset"] for row in rows_of(plan, RECORDS)] == [10, 12]
    assert [(b.delivery.partition.topic, b.delivery.offset) for b in plan.undecodable] == [
        ("records", 11)
    ]
    assert [row["reason"] for row in rows_of(plan, LETTERS)] == [
        "deadline",
        "undecodable",
        "deadline",
    ]
    assert plan.counts[RECORDS, "undecodable"] == plan.counts[LETTERS, "undecodable"] == 1
    assert plan.counts[RECORDS, "kept"] == 2


@pytest.mark.parametrize("timestamp_ms", [-1, 0, 2**63 - 1, -(2**63)])
def test_a_message_of_any_time_and_size_keeps_a_row(timestamp_ms: int) -> None:
    raw = b"[" * (MAX_ORIGINAL_BYTES + 1)
    message = Delivery(Partition("dead-letters", 0), 10, b"\xff", raw, timestamp_ms)
    (row,) = rows_of(draw([message]), LETTERS)
    assert row["original_size"] == len(raw)
    assert row["key"] == "/w=="
    assert len(str(row["value"])) < 100_000
