"""Lost records on a real log and real tables: listed, accepted, passed over by real workers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.integration.conftest import Place, Tables
from promptmill.lake.gaps import GapTable
from promptmill.lake.ports import Advance, Batch, TableName
from promptmill.lake.reader import DeltaReader
from promptmill.lake.tables import TABLES
from promptmill.stream.lost_records import Gap
from promptmill.stream.ports import Partition
from promptmill_schemas.topics import PROMPTS, RECORDS
from support.commands import Promptmill
from support.kafka_topics import delete_up_to
from support.store import PARTITIONS, DeltaStore, prompt
from support.waiting import eventually_now

pytestmark = pytest.mark.real

SHARD = 2
PATIENCE_S = 120


def delete(place: Place, first: int, topic: str | None = None) -> Partition:
    """The beginning of a partition's log moves on, as with retention."""
    partition = Partition(topic or place.topic(PROMPTS), SHARD)
    asyncio.run(delete_up_to(place.stack.kafka, partition, first))
    return partition


def fill(place: Place, count: int) -> None:
    """Prompts until the partition holds so many."""
    number = held = 0
    while held < count:
        place.send(PROMPTS, *(prompt(f"{number}.{each}") for each in range(20)))
        number += 1
        held = sum(each.partition.number == SHARD for each in place.read(PROMPTS))


def test_nothing_is_lost_on_topics_that_begin_at_0(promptmill: Promptmill, place: Place) -> None:
    place.send(PROMPTS, prompt("a"))
    listed = promptmill("gaps")
    assert (listed.code, listed.out) == (0, "no records have been lost\n"), listed.err
    assert promptmill("gaps", "--json").out == ""
    assert promptmill("gaps", "accept", "--all").code == 0


def test_what_is_lost_is_listed_and_accepted_by_stage(
    promptmill: Promptmill, place: Place, tables: Tables
) -> None:
    fill(place, 5)
    tables.take_prompts(d for d in place.read(PROMPTS) if d.offset < 2)
    delete(place, 4)
    lost = {"topic": place.topic(PROMPTS), "partition": SHARD, "last": 3, "accepted": False}
    instruct = {"stage": "instruct", **lost, "first": 0, "count": 4}
    store = {"stage": "store", **lost, "first": 2, "count": 2}
    assert promptmill("gaps", "--json").json_lines == [instruct, store]

    done = promptmill(
        *("gaps", "accept", "--topic", "prompts", "--partition", SHARD, "--stage", "store")
    )
    assert (done.code, done.err) == (0, "")
    assert "offsets 2 to 3  2 records  accepted" in done.out
    store["accepted"] = True
    assert promptmill("gaps", "--json").json_lines == [instruct, store]

    assert promptmill("gaps", "accept", "--all", "--json").json_lines == [
        {**instruct, "accepted": True}
    ]
    delete(place, 5)
    later = [each for each in promptmill("gaps", "--json").json_lines if not each["accepted"]]
    assert [(each["stage"], each["first"], each["last"]) for each in later] == [
        ("instruct", 4, 4),
        ("store", 4, 4),
    ]


@pytest.mark.parametrize(
    "arguments",
    [(), ("--topic", "prompts"), ("--partition", "1"), ("--all", "--topic", "t", "--partition", 1)],
)
def test_what_to_accept_must_be_said(
    promptmill: Promptmill, arguments: tuple[str | int, ...]
) -> None:
    assert promptmill("gaps", "accept", *arguments).code == 2


def test_accepting_what_is_not_lost_is_refused(promptmill: Promptmill, place: Place) -> None:
    done = promptmill("gaps", "accept", "--topic", "prompts", "--partition", 0)
    assert done.code == 78
    assert "see `promptmill gaps`" in done.err


def test_acceptances_of_other_stages_are_not_read(tmp_path: Path) -> None:
    table, gap = GapTable(str(tmp_path)), Gap(Partition("prompts", 0), 3, 9)
    assert table.read("store") == []
    table.accept("instruct", [gap])
    table.accept("instruct", [gap])
    assert table.read("store") == []
    assert set(table.read("instruct")) == {gap}


def test_status_and_publish_read_on_beyond_a_gap_once_the_store_may(
    promptmill: Promptmill, place: Place, tables: Tables, tmp_path: Path
) -> None:
    fill(place, 5)
    sent = place.read(PROMPTS)
    in_shard = [each for each in sent if each.partition.number == SHARD]
    tables.take_prompts(each for each in in_shard if each.offset < 2)
    delete(place, 4)
    lines = tmp_path / "prompts.jsonl"
    lines.write_text('{"prompt": "published after the loss"}\n')
    status = ("status", "--run", "test", "--json")
    publish = ("publish", str(lines), "--run", "test", "--json")
    for command in (status, publish):
        refused = promptmill(*command)
        assert refused.code == 78
        assert "offsets 2 to 3" in refused.err
        assert "promptmill gaps accept" in refused.err

    assert promptmill("gaps", "accept", "--all").code == 0
    shown = promptmill(*status)
    assert (shown.code, shown.err) == (0, "")
    assert shown.json["published"] == len(sent) - 2, "all but the two lost ones"
    assert promptmill(*publish).json["published"] == 1
    assert promptmill(*status).json["published"] == len(sent) - 1


@contextmanager
def worker(place: Place, stage: str) -> Iterator[subprocess.Popen[str]]:
    """A worker process of its own."""
    environment = {
        **{name: value for name, value in os.environ.items() if "PROMPTMILL" not in name},
        "PROMPTMILL_KAFKA": place.stack.kafka,
        "PROMPTMILL_TOPIC_PREFIX": place.prefix,
        "PROMPTMILL_STORE": place.store,
        "PROMPTMILL_INSTRUCT_ENGINE": "scripted",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    command = [sys.executable, "-m", f"promptmill.{stage}"]
    running = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield running
    finally:
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=PATIENCE_S)


@pytest.mark.parametrize("stage", ["instruct", "store"])
def test_a_worker_ends_until_the_loss_is_accepted_and_then_passes_over_it(
    promptmill: Promptmill, place: Place, stage: str
) -> None:
    fill(place, 3)
    partition = delete(place, 2)
    with worker(place, stage) as refused:
        said, _ = refused.communicate(timeout=PATIENCE_S)
    assert refused.returncode == 78, said
    assert f"{partition}: offsets 0 to 1" in said
    assert "promptmill gaps accept" in said

    assert promptmill("gaps", "accept", "--all").code == 0

    def is_passed() -> bool:
        listed = promptmill("gaps", "--json").json_lines
        return stage not in {each["stage"] for each in listed}

    with worker(place, stage):
        eventually_now(is_passed, PATIENCE_S)


def test_a_topic_of_the_store_that_begins_beyond_its_table_is_listed(
    promptmill: Promptmill, place: Place, tables: Tables
) -> None:
    place.send_bytes(RECORDS, b"{}", b"{}", b"{}")
    (number,) = {each.partition.number for each in place.read(RECORDS)}
    asyncio.run(delete_up_to(place.stack.kafka, Partition(place.topic(RECORDS), number), 1))
    (found,) = promptmill("gaps", "--json").json_lines
    assert (found["stage"], found["topic"]) == ("store", place.topic(RECORDS))
    assert (found["first"], found["last"], found["count"]) == (0, 0, 1)
    assert TableName.RECORDS in found["topic"]


def test_positions_of_partitions_that_were_added_to_the_layout_are_read(tmp_path: Path) -> None:
    added = PARTITIONS + 3
    sink = DeltaStore(tmp_path).sink()
    sink.take_over([added])
    rows = TABLES[TableName.REJECTS].schema.empty_table()
    sink.commit(TableName.REJECTS, Batch(rows, {added: Advance(None, 7)}))
    snapshot = DeltaReader(str(tmp_path)).snapshot(TableName.REJECTS)
    assert snapshot is not None
    assert snapshot.next_offsets() == {}
    assert snapshot.next_offsets([0, added]) == {added: 7}
