"""Streams over real tables: every record once, whoever reads it and wherever it is interrupted."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pytest

from promptmill.export.selection import Selection
from promptmill.lake.ports import COUNTED, Sink, TableName
from promptmill.runtime.errors import Misconfigured
from promptmill.training import by_score, by_tag, merge_states, stream
from promptmill.training import windows as reading
from promptmill_schemas import Contract
from support.exports import BAD_SCORES, pair
from support.store import AT, GENERATOR, DeltaStore, batch, pid, prompt, record
from training.integration.growing import PARTITIONS, Growing, once

pytestmark = pytest.mark.real


def all_of(rows: Any) -> list[str]:
    """The ids of the rows of a stream, in its order."""
    return [row["record_id"] for row in rows]


def test_every_record_comes_once_and_each_shard_in_order(table: Growing) -> None:
    rows = all_of(once(table))
    assert sorted(rows) == table.ids
    order = {record.record_id: number for number, record in enumerate(table.added)}
    assert [order[each] for each in rows if order[each] < 5] == [0, 1, 2, 3, 4]


def test_each_pass_begins_at_the_same_row(table: Growing) -> None:
    rows = once(table)
    assert len({next(iter(rows))["record_id"] for _ in range(3)}) == 1
    assert all_of(rows) == all_of(rows)


@pytest.mark.parametrize("window", [1, 8, 4096])
@pytest.mark.parametrize("taken", [0, 1, 7, 39, 40])
def test_a_state_continues_exactly_after_the_last_row(
    table: Growing, monkeypatch: pytest.MonkeyPatch, window: int, taken: int
) -> None:
    monkeypatch.setattr(reading, "WINDOW_ROWS", window)
    rows = once(table)
    head = all_of(islice(rows, taken))
    saved = orjson.loads(orjson.dumps(rows.state_dict()))
    rest = once(table)
    rest.load_state_dict(saved)
    assert head + all_of(rest) == all_of(once(table))


def test_a_stream_follows_the_table_while_it_grows_and_is_compacted(table: Growing) -> None:
    rows = iter(stream(table.uri, limit=5 * PARTITIONS * 3))
    found = all_of(islice(rows, 40))
    for _ in range(2):
        table.grow(5)
        table.records.compact()
        found += all_of(islice(rows, 40))
    assert sorted(found) == table.ids
    assert next(rows, None) is None


def test_a_stream_waits_at_the_end_of_the_table(table: Growing) -> None:
    rows = iter(stream(table.uri, start="now"))
    later = threading.Timer(0.5, table.grow)
    later.start()
    found = next(rows)["record_id"]
    later.join()
    assert found in {record.record_id for record in table.added[40:]}


def test_a_stream_begins_now_or_after_a_version(table: Growing) -> None:
    version = Selection().open(table.uri).version
    table.grow()
    rows = once(table, start="now")
    table.grow()
    assert sorted(all_of(rows)) == sorted(record.record_id for record in table.added[48:])
    after = all_of(once(table, start=version))
    assert sorted(after) == sorted(record.record_id for record in table.added[40:])


def test_readers_share_the_records_without_overlap_and_without_gaps(table: Growing) -> None:
    parts = [
        once(table, rank=rank, world_size=3).part(worker, 2)
        for rank in range(3)
        for worker in range(2)
    ]
    assert sorted(each for part in parts for each in all_of(part)) == table.ids


def test_another_number_of_readers_continues_from_the_merged_states(table: Growing) -> None:
    readers = [once(table, rank=rank, world_size=3) for rank in range(3)]
    found = [each for n, reader in enumerate(readers) for each in all_of(islice(reader, 3 + n))]
    saved = merge_states(orjson.loads(orjson.dumps([r.state_dict() for r in readers])))
    table.grow(2)
    for rank in range(5):
        reader = once(table, rank=rank, world_size=5)
        reader.load_state_dict(saved)
        found += all_of(reader)
    assert sorted(found) == table.ids


def test_more_readers_than_partitions_are_refused(table: Growing) -> None:
    with pytest.raises(Misconfigured, match=r"9 readers .* cannot share 8 shards"):
        stream(table.uri, rank=0, world_size=9)
    with pytest.raises(Misconfigured, match=r"3 readers .* cannot share 2 shards"):
        stream(table.uri, rank=0, world_size=4).part(0, 3)


def test_the_state_of_fewer_readers_or_of_another_table_is_refused(
    table: Growing, tmp_path: Path
) -> None:
    half = stream(table.uri, rank=0, world_size=2).state_dict()
    with pytest.raises(Misconfigured, match="no position of shard 1"):
        stream(table.uri).load_state_dict(half)
    with pytest.raises(Misconfigured, match="shard 0; pass the state of each reader"):
        merge_states([half, half])
    other = Growing(tmp_path / "other")
    with pytest.raises(Misconfigured, match="the state belongs to table"):
        stream(other.uri).load_state_dict(stream(table.uri).state_dict())


def test_rows_come_in_the_format_of_a_trainer(table: Growing) -> None:
    assert {tuple(row) for row in once(table, format="trl-sft")} == {("messages",)}
    table.records.add(pair(number=1_000))
    rows = once(table, format="trl-kto")
    head = list(islice(rows, 41))  # with the first of the pair's two rows
    rest = once(table, format="trl-kto")
    rest.load_state_dict(rows.state_dict())
    assert [row["label"] for row in [*head, *rest]] == [True] * 41 + [False]


def test_a_condition_and_a_run_select_records(table: Growing) -> None:
    table.grow(1, run="other", reward=9.0)
    assert len(all_of(once(table, run="other"))) == PARTITIONS
    assert len(all_of(once(table, where="reward > 8 AND shard < 2"))) == 2
    with pytest.raises(Misconfigured, match="no_such"):
        stream(table.uri, where="no_such > 1")


def test_weights_repeat_records_and_leave_them_out(table: Growing) -> None:
    table.grow(1, tags={"domain": "rare"})
    table.grow(1, scores=BAD_SCORES)
    counts = Counter(all_of(once(table, weight=by_tag("domain", {"rare": 3}))))
    assert Counter(counts.values()) == {1: 48, 3: 8}
    assert len(all_of(once(table, weight=by_score("helpfulness", {2: 1})))) == 48
    halves = all_of(once(table, weight=by_score("helpfulness", {0: 1.5})))
    assert halves == all_of(once(table, weight=by_score("helpfulness", {0: 1.5})))
    assert 56 < len(halves) < 112


def test_a_state_may_be_between_the_copies_of_a_record(table: Growing) -> None:
    threefold = by_tag("domain", {}, default=3)
    rows = once(table, weight=threefold)
    head = all_of(islice(rows, 50))
    rest = once(table, weight=threefold)
    rest.load_state_dict(rows.state_dict())
    assert Counter(head + all_of(rest)) == Counter(table.ids * 3)


def revised(revision: str, minutes: int) -> dict[str, Any]:
    """The fields of a record by this revision of the generator."""
    return {
        "generator": GENERATOR.model_copy(update={"revision": revision}),
        "created_at": AT + timedelta(minutes=minutes),
    }


def test_records_of_old_revisions_are_left_out(tmp_path: Path) -> None:
    table = Growing(tmp_path / "store")
    for number, revision in enumerate(["first", "second", "third"]):
        table.grow(1, **revised(revision, number))
    rows = once(table, max_staleness=1)
    found = Counter(row["generated_by"]["revision"] for row in rows)
    assert found == {"second": 8, "third": 8}
    table.grow(1, **revised("second", 9))
    rest = once(table, max_staleness=0)
    rest.load_state_dict(rows.state_dict())
    assert not list(rest)


def test_a_stream_ends_after_its_limit_also_across_a_restart(table: Growing) -> None:
    rows = once(table, limit=10)
    head = all_of(islice(rows, 4))
    rest = once(table, limit=10)
    rest.load_state_dict(rows.state_dict())
    assert len(head + all_of(rest)) == 10


def test_a_stream_ends_when_it_is_idle(table: Growing) -> None:
    assert sorted(all_of(stream(table.uri, idle_s=0.2))) == table.ids


def stored(sink: Sink, name: TableName, at: int, message: Contract) -> None:
    """Commit a message at this offset of shard 0, and the number of the run's prompts."""
    one = batch([(0, at, message)], {0: (at or None, at + 1)}, name)
    counts = {(0, "test"): at + 1, (0, COUNTED): 1}
    sink.commit(name, replace(one, counts=counts))


def test_a_stream_ends_with_its_run(tmp_path: Path) -> None:
    sink = DeltaStore(tmp_path).sink()
    sink.take_over(range(4))
    for at, text in enumerate(("a", "b")):
        stored(sink, TableName.PROMPTS, at, prompt(text))
    stored(sink, TableName.RECORDS, 0, record("a"))
    rows = iter(stream(str(tmp_path), run="test", until_settled=True))
    assert next(rows)["prompt_id"] == pid("a")
    stored(sink, TableName.RECORDS, 1, record("b"))
    assert [row["prompt_id"] for row in rows] == [pid("b")]


def test_a_wrong_argument_is_refused_by_name(table: Growing, tmp_path: Path) -> None:
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"format": "no-such"}, "format 'no-such' does not exist"),
        ({"start": "later"}, "start is 'later'"),
        ({"start": 1_000}, "no version 1000"),
        ({"limit": -1}, "limit is -1"),
        ({"until_settled": True}, "until_settled needs a run"),
        ({"rank": 2, "world_size": 2}, "no reader 2 of 2"),
    )
    for options, message in wrong:
        with pytest.raises(Misconfigured, match=message):
            stream(table.uri, **options)
    with pytest.raises(Misconfigured, match="no table of records yet"):
        stream(str(tmp_path / "empty"))
    with pytest.raises(Misconfigured, match="attribute 'niceness'"):
        by_score("niceness", {})
