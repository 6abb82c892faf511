"""The sink's loop over a store in memory and a source in the test's hands."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from dataclasses import replace

import pyarrow as pa
import pytest

from promptmill.lake.ports import TableName
from promptmill.runtime.errors import Fatal, Misconfigured, Unavailable
from promptmill.stream.layout import DataSetLayout
from promptmill.stream.lost_records import Gap, LostRecords
from promptmill.stream.ports import Delivery, Partition
from promptmill.testing.lake import MemorySink
from support.fake_source import Log, delete_up_to, every_partition
from support.sink_loop import QUICK, Member, member, offsets, stored
from support.store import PARTITIONS, SharedStore, identities, letter, pid, prompt, record, reject
from support.waiting import PATIENCE_S, eventually

RECORDS, REJECTS = TableName.RECORDS, TableName.REJECTS
PROMPTS, LETTERS = TableName.PROMPTS, TableName.DEAD_LETTERS


class Counting(MemorySink):
    """Notes which tables are read and compacted."""

    def __init__(self, store: SharedStore) -> None:
        super().__init__(store.memory, identities())
        self.reads: list[TableName] = []
        self.compacted: list[TableName] = []
        self.vacuumed: list[tuple[TableName, int]] = []
        self.failures = 0

    def ids(self, table: TableName, shards: Collection[int]) -> Iterator[pa.RecordBatch]:
        """Noted, and read, unless the storage fails."""
        self.reads.append(table)
        if self.failures:
            self.failures -= 1
            raise Unavailable("memory://: the storage does not answer")
        return super().ids(table, shards)

    def compact(self, table: TableName) -> None:
        """Noted."""
        self.compacted.append(table)

    def vacuum(self, table: TableName, retention_hours: int) -> int:
        """Noted."""
        self.vacuumed.append((table, retention_hours))
        return 0


@pytest.fixture
def log() -> Log:
    """Empty topics."""
    return Log()


@pytest.fixture
def store() -> SharedStore:
    """An empty store."""
    return SharedStore()


async def test_messages_of_all_topics_become_rows(log: Log, store: SharedStore) -> None:
    log.put(0, prompt("a"), prompt("b"), prompt("c"), record("a"), reject("b"), letter("c"))
    async with member(log, store.sink()) as one:
        await one.assign()
        log.put(3, prompt("d"), record("d"))
        await eventually(lambda: one.probe.done == 8)
    assert stored(store, PROMPTS) == sorted(pid(text) for text in "abcd")
    assert stored(store, RECORDS) == sorted([pid("a"), pid("d")])
    assert (stored(store, REJECTS), stored(store, LETTERS)) == ([pid("b")], [pid("c")])


async def test_kafka_is_told_what_is_stored(log: Log, store: SharedStore) -> None:
    log.put(1, record("a"), record("b"))
    async with member(log, store.sink()) as one:
        await one.assign()
        await eventually(lambda: log.committed == {Partition("records", 1): 2})


async def test_kafka_is_told_what_an_earlier_owner_had_stored(log: Log, store: SharedStore) -> None:
    log.put(1, record("a"), record("b"))
    async with member(log, store.sink()) as one:
        await one.assign()
        await eventually(lambda: one.probe.done == 2)
    log.committed.clear()
    async with member(log, store.sink()) as two:
        await two.assign()
        await eventually(lambda: log.committed == {Partition("records", 1): 2})


async def test_kafka_refusing_the_advice_does_no_harm(log: Log, store: SharedStore) -> None:
    log.put(1, record("a"))
    async with member(log, store.sink()) as one:
        one.source.commit_error = Unavailable("no coordinator")
        await one.assign()
        await eventually(lambda: one.probe.done == 1)
    assert stored(store, RECORDS) == [pid("a")]
    assert one.probe.retries == []


async def test_a_new_sink_goes_on_where_the_table_stands_whatever_kafka_says(
    log: Log, store: SharedStore
) -> None:
    log.put(0, record("a"), record("b"))
    async with member(log, store.sink()) as first:
        await first.assign()
        await eventually(lambda: first.probe.done == 2)
    log.committed.clear()
    log.put(0, record("c"))
    async with member(log, store.sink()) as second:
        await second.assign()
        await eventually(lambda: second.probe.done == 1)
    assert offsets(store, RECORDS) == {0: [0, 1, 2]}


async def test_what_is_settled_is_known_after_a_restart(log: Log, store: SharedStore) -> None:
    log.put(0, record("a"), reject("b"), letter("c"))
    async with member(log, store.sink()) as first:
        await first.assign()
        await eventually(lambda: first.probe.done == 3)
    log.put(0, record("a", decision="second"), record("b"), letter("a"), record("c"))
    async with member(log, store.sink()) as second:
        await second.assign()
        await eventually(lambda: second.probe.done == 4)
    assert second.loop.counts == {
        (RECORDS, "variant"): 2,
        (LETTERS, "settled"): 1,
        (RECORDS, "dead"): 1,
    }


async def test_bytes_that_are_no_record_are_buried_before_their_offset_is_stored(
    log: Log, store: SharedStore
) -> None:
    log.put_raw(Partition("records", 0), b"{}")
    log.put(0, record("a"))
    async with member(log, store.sink()) as one:
        await one.assign()
        await eventually(lambda: one.probe.done == 2)
    assert [delivery.offset for delivery in one.dead_lettered] == [0]
    assert stored(store, RECORDS) == [pid("a")]


async def test_the_dead_letters_of_a_flush_do_not_wait_for_each_other(
    log: Log, store: SharedStore
) -> None:
    """Each waits 5 ms for its batch at least: one after the other, thousands take minutes."""
    for _ in range(20):
        log.put_raw(Partition("records", 0), b"{}")
    all_are_sent = asyncio.Barrier(20)
    together = replace(QUICK, flush_rows=20, flush_delay_s=PATIENCE_S)
    async with member(log, store.sink(), together, acknowledged=all_are_sent.wait) as one:
        await one.assign()
        await eventually(lambda: one.probe.done == 20)
    assert sorted(delivery.offset for delivery in one.dead_lettered) == list(range(20))


async def test_nothing_is_stored_while_a_dead_letter_is_not_acknowledged(
    log: Log, store: SharedStore
) -> None:
    refusals = iter([True, True])

    async def acknowledged() -> None:
        assert not stored(store, RECORDS)
        if next(refusals, False):
            raise Unavailable("not acknowledged")

    log.put_raw(Partition("records", 0), b"{}")
    log.put_raw(Partition("records", 0), b"[]")
    log.put(0, record("a"))
    async with member(log, store.sink(), acknowledged=acknowledged) as one:
        await one.assign()
        await eventually(lambda: one.probe.done == 3)
    assert sorted(delivery.offset for delivery in one.dead_lettered) == [0, 1]
    assert stored(store, RECORDS) == [pid("a")]


async def test_a_full_disk_is_waited_for_and_nothing_is_skipped(
    log: Log, store: SharedStore
) -> None:
    sink = store.sink()
    async with member(log, sink) as one:
        await one.assign()
        store.memory.failures = 5
        log.put(0, *(record(str(number)) for number in range(50)))
        await eventually(lambda: one.probe.done == 50)
    assert one.probe.retries == ["unavailable"] * 5
    assert offsets(store, RECORDS) == {0: list(range(50))}


async def test_while_the_disk_is_full_polling_goes_on_and_partitions_are_paused(
    log: Log, store: SharedStore
) -> None:
    limits = replace(QUICK, flush_rows=10, buffer_rows=30)
    async with member(log, store.sink(), limits) as one:
        await one.assign()
        store.memory.failures = 10**9
        log.put(0, *(record(str(number)) for number in range(1000)))
        await eventually(lambda: one.source.paused == set(every_partition()))
        held = one.loop.waiting + one.loop.in_flight
        store.memory.failures = 0
        await eventually(lambda: one.probe.done == 1000)
    assert held <= 30 + 20 + 10  # the limit, one delivery beyond it, one flush
    assert offsets(store, RECORDS) == {0: list(range(1000))}


async def test_storage_that_is_away_at_the_start_is_waited_for(
    log: Log, store: SharedStore
) -> None:
    sink = store.sink()
    store.memory.failures = 3
    log.put(0, record("a"))
    async with member(log, sink) as one:
        await one.source.assign(every_partition())
        await eventually(lambda: one.probe.done == 1)
    assert len(one.probe.retries) == 3


async def test_leaving_partitions_take_what_has_arrived_with_them(
    log: Log, store: SharedStore
) -> None:
    slow = replace(QUICK, flush_delay_s=60)
    async with member(log, store.sink(), slow) as one:
        await one.assign()
        log.put(0, record("a"))
        await eventually(lambda: one.loop.waiting == 1)
        await one.source.revoke(every_partition())
        assert stored(store, RECORDS) == [pid("a")]
        assert one.loop.assigned == []


async def test_a_rebalance_does_not_wait_longer_than_its_budget_for_storage(
    log: Log, store: SharedStore
) -> None:
    limits = replace(QUICK, revoke_budget_s=0.1)
    async with member(log, store.sink(), limits) as one:
        await one.assign()
        store.memory.failures = 10**9
        log.put(0, record("a"))
        await eventually(lambda: one.probe.retries)
        async with asyncio.timeout(60):
            await one.source.revoke(every_partition())
        store.memory.failures = 0
        await one.assign()
        await eventually(lambda: one.probe.done >= 1)
        await eventually(lambda: stored(store, RECORDS) == [pid("a")])


async def test_a_shard_that_comes_back_unclaimed_is_not_read_again(
    log: Log, store: SharedStore
) -> None:
    sink = Counting(store)
    log.put(0, record("a"))
    async with member(log, sink) as one:
        await one.assign()
        await eventually(lambda: one.probe.done == 1)
        reads = len(sink.reads)
        await one.source.revoke(every_partition())
        await one.assign()
        log.put(0, record("a", decision="second"))
        await eventually(lambda: one.probe.done == 2)
    assert len(sink.reads) == reads
    assert stored(store, RECORDS) == [pid("a")]


async def pass_on(log: Log, one: Member, two: Member) -> None:
    """Let the first sink store what is on the log, and then the second one a record of ``b``."""
    await one.assign()
    await eventually(lambda: one.probe.done == 1)
    await one.source.revoke(every_partition())
    await two.assign()
    log.put(0, record("b"))
    await eventually(lambda: two.probe.done == 1)
    await two.source.revoke(every_partition())


async def test_a_shard_that_another_sink_had_meanwhile_is_read_again(
    log: Log, store: SharedStore
) -> None:
    log.put(0, record("a"))
    async with member(log, store.sink()) as one, member(log, store.sink()) as two:
        await pass_on(log, one, two)
        await one.assign()
        log.put(0, record("b", decision="second"))
        await eventually(lambda: one.probe.done == 2)
    assert stored(store, RECORDS) == sorted([pid("a"), pid("b")])
    assert one.loop.counts[RECORDS, "variant"] == 1


async def test_rows_of_another_sink_are_read_although_the_first_attempt_fails(
    log: Log, store: SharedStore
) -> None:
    sink = Counting(store)
    log.put(0, record("a"))
    async with member(log, sink) as one, member(log, store.sink()) as two:
        await pass_on(log, one, two)
        sink.failures = 1
        await one.assign()
        log.put(0, record("b"), record("b", decision="second"))
        await eventually(lambda: one.probe.done == 3)
    assert one.probe.retries
    assert stored(store, RECORDS) == sorted([pid("a"), pid("b")])


async def test_a_shard_assigned_again_takes_nothing_from_an_earlier_flush(
    log: Log, store: SharedStore
) -> None:
    failing = ["checked:prompts"]

    def fail(step: str) -> None:
        if step in failing:
            raise Unavailable("memory://: there is no space left")

    log.put(0, prompt("a"), prompt("b"))
    async with member(log, store.sink(step=fail)) as one:
        await one.assign()
        await eventually(lambda: one.probe.retries)
        store.sink().take_over(range(PARTITIONS))
        await one.source.assign(every_partition())
        failing.clear()
        log.put(0, prompt("c"))
        await eventually(lambda: log.committed.get(Partition("prompts", 0)) == 3)
    assert offsets(store, PROMPTS) == {0: [0, 1, 2]}


async def test_two_sinks_that_both_believe_in_a_shard_store_each_row_once(
    log: Log, store: SharedStore
) -> None:
    async with member(log, store.sink()) as one, member(log, store.sink()) as two:
        await one.assign()
        await two.assign()
        for number in range(300):
            log.put(number % PARTITIONS, record(str(number)))
            if number % 30 == 0:
                await asyncio.sleep(0.005)
        total = {shard: list(range(75)) for shard in range(PARTITIONS)}
        await eventually(lambda: offsets(store, RECORDS) == total)
        await two.source.revoke(every_partition())
    assert offsets(store, RECORDS) == total
    assert len(set(stored(store, RECORDS))) == 300


async def test_paused_partitions_stay_paused_over_a_rebalance(log: Log, store: SharedStore) -> None:
    limits = replace(QUICK, flush_rows=10, buffer_rows=10)
    async with member(log, store.sink(), limits) as one:
        await one.assign(0)
        store.memory.failures = 10**9
        log.put(0, *(record(str(number)) for number in range(500)))
        await eventually(lambda: one.source.paused == set(every_partition(0)))
        await one.source.assign(every_partition(1))
        assert one.source.paused == set(every_partition(0, 1))
        store.memory.failures = 0
        await eventually(lambda: one.probe.done == 500)


async def test_a_shard_is_held_until_all_its_topics_are_here(log: Log, store: SharedStore) -> None:
    log.put(0, prompt("a"), record("a"))
    async with member(log, store.sink()) as one:
        parts = every_partition(0)
        await one.source.assign(parts[:3])
        await one.assign(1)
        assert one.source.paused == set(parts[:3])
        await one.source.assign(parts[3:])
        await eventually(lambda: one.probe.done == 2)


async def test_part_of_a_shard_leaving_stops_all_of_it(log: Log, store: SharedStore) -> None:
    async with member(log, store.sink()) as one:
        await one.assign(0)
        await one.source.revoke(every_partition(0)[:1])
        log.put(0, record("a"))
        assert one.source.paused == set(every_partition(0)[1:])
        await one.source.assign(every_partition(0)[:1])
        await eventually(lambda: one.probe.done == 1)


async def test_an_offset_without_a_message_is_passed(log: Log, store: SharedStore) -> None:
    async with member(log, store.sink()) as one:
        await one.assign()
        log.put(0, record("a"))
        log.put_raw(Partition("records", 0), None, None)
        log.put(0, record("b"))
        await eventually(lambda: one.probe.done == 2)
    assert offsets(store, RECORDS) == {0: [0, 3]}


async def test_a_fetch_that_was_overtaken_by_a_seek_skips_nothing(
    log: Log, store: SharedStore
) -> None:
    async with member(log, store.sink()) as one:
        await one.assign()
        log.put(0, *(record(str(number)) for number in range(20)))
        partition = Partition("records", 0)
        await one.source.listener.on_records([Delivery(partition, 17, None, b"{}")])
        await eventually(lambda: one.probe.done == 20)
    assert offsets(store, RECORDS) == {0: list(range(20))}


async def test_a_log_that_ends_before_its_table_stops_the_sink(
    log: Log, store: SharedStore
) -> None:
    log.put(0, record("a"), record("b"))
    async with member(log, store.sink()) as one:
        await one.assign()
        await eventually(lambda: one.probe.done == 2)
    log.messages[Partition("records", 0)] = [b"{}"]
    async with member(log, store.sink()) as two:
        await two.source.assign(every_partition())
        with pytest.raises(Misconfigured, match="offset 2, but the log ends before it"):
            await two.running


async def test_a_log_that_begins_beyond_its_table_stops_the_sink_and_says_what_is_lost(
    log: Log, store: SharedStore
) -> None:
    log.put(0, record("a"), record("b"))
    async with member(log, store.sink()) as one:
        await one.assign()
        await eventually(lambda: one.probe.done == 2)
    delete_up_to(log, Partition("records", 0), 5)
    async with member(log, store.sink()) as two:
        await two.source.assign(every_partition())
        with pytest.raises(LostRecords, match=r"records-0: offsets 2 to 4") as caught:
            await two.running
    assert caught.value.exit_code == 78


async def test_a_table_that_has_nothing_of_a_log_that_no_longer_begins_at_0_stops_the_sink(
    log: Log, store: SharedStore
) -> None:
    delete_up_to(log, Partition("rejects", 2), 3)
    async with member(log, store.sink()) as one:
        await one.source.assign(every_partition())
        with pytest.raises(LostRecords, match=r"rejects-2: offsets 0 to 2"):
            await one.running


async def test_retention_that_overtakes_a_running_sink_stops_it_and_stores_nothing_beyond(
    log: Log, store: SharedStore
) -> None:
    async with member(log, store.sink()) as one:
        await one.assign()
        log.put(0, record("a"), record("b"))
        await eventually(lambda: one.probe.done == 2)
        partition = Partition("records", 0)
        delete_up_to(log, partition, 4)
        log.put(0, record("c"))
        one.source.seek(partition, 4)  # as a client does whose position is out of range
        with pytest.raises(LostRecords, match=r"records-0: offsets 2 to 3"):
            await one.running
    assert offsets(store, RECORDS) == {0: [0, 1]}


@pytest.mark.parametrize("failures", [0, 3])
async def test_what_was_delivered_before_retention_overtook_a_sink_is_stored_first(
    log: Log, store: SharedStore, failures: int
) -> None:
    limits = replace(QUICK, flush_delay_s=3600)
    async with member(log, store.sink(), limits=limits) as one:
        await one.assign()
        log.put(0, record("a"), record("b"))
        log.put(1, *(record(f"other {n}") for n in range(8)))
        await eventually(lambda: one.loop.waiting == 10)
        store.memory.failures = failures
        partition = Partition("records", 0)
        delete_up_to(log, partition, 4)
        log.put(0, record("c"))
        one.source.seek(partition, 4)
        with pytest.raises(LostRecords, match=r"records-0: offsets 2 to 3"):
            await one.running
    assert offsets(store, RECORDS) == {0: [0, 1], 1: list(range(8))}


async def test_accepted_gaps_are_passed_over_and_nothing_else_is(
    log: Log, store: SharedStore
) -> None:
    log.put(0, record("a"))
    async with member(log, store.sink()) as one:
        await one.assign()
        await eventually(lambda: one.probe.done == 1)
    partition = Partition("records", 0)
    delete_up_to(log, partition, 4)
    log.put(0, record("b"))
    accepted = [Gap(partition, 1, 3)]
    async with member(log, store.sink(), accepted=accepted) as two:
        await two.assign()
        await eventually(lambda: two.probe.done == 1)
    assert offsets(store, RECORDS) == {0: [0, 4]}
    delete_up_to(log, partition, 9)
    async with member(log, store.sink(), accepted=accepted) as three:
        await three.source.assign(every_partition())
        with pytest.raises(LostRecords, match=r"records-0: offsets 5 to 8"):
            await three.running


async def test_what_stands_in_wrong_partitions_is_moved_and_stored_once(
    log: Log, store: SharedStore
) -> None:
    """One partition was added to some topics; instruct workers move the prompts."""
    layout = DataSetLayout(PARTITIONS)
    decided = [*(record(str(n)) for n in range(20)), *(reject(str(n)) for n in range(20, 40))]
    added = [Partition(topic, PARTITIONS) for topic in ("records", "rejects", "dead-letters")]
    for shard in (0, PARTITIONS):
        log.put(shard, *decided, letter("dead"), letter(None))
    log.put(0, prompt("0"))
    log.put_raw(added[2], b"no letter")
    async with member(log, store.sink(), layout=layout) as one:
        await one.source.assign([*every_partition(), *added])
        await eventually(lambda: len(stored(store, LETTERS, "letter_id")) == 3)
        await eventually(lambda: len(stored(store, REJECTS)) == 20)
        await eventually(lambda: all(log.committed.get(p, 0) == log.end(p) for p in log.messages))
    assert stored(store, RECORDS) == sorted(pid(str(n)) for n in range(20))
    assert stored(store, REJECTS) == sorted(pid(str(n)) for n in range(20, 40))
    for table in (RECORDS, REJECTS):
        for row in store.rows(table):
            assert row["shard"] == layout.partition_of(row["prompt_id"].encode())
    assert {row["shard"] for row in store.rows(LETTERS)} <= set(range(PARTITIONS))
    assert len(stored(store, PROMPTS)) == (layout.partition_of(pid("0").encode()) == 0)


async def test_a_moved_message_is_acknowledged_before_its_position_is_stored(
    log: Log, store: SharedStore
) -> None:
    added = Partition("records", PARTITIONS)
    log.put(PARTITIONS, record("a"))
    full = [True]

    def fail(step: str) -> None:
        if full[0] and step == "checked:records":
            raise Unavailable("memory://: there is no space left")

    async with member(log, store.sink(step=fail), layout=DataSetLayout(PARTITIONS)) as one:
        await one.source.assign([*every_partition(), added])
        await eventually(lambda: one.probe.retries)
        assert store.memory.tables[RECORDS].positions.get(PARTITIONS) is None
        assert sum(len(found) for p, found in log.messages.items() if p != added) == 1
        full[0] = False
        await eventually(lambda: log.committed.get(added) == 1)
    assert stored(store, RECORDS) == [pid("a")]


async def test_a_topic_made_anew_under_a_running_sink_stops_it(
    log: Log, store: SharedStore
) -> None:
    log.put(0, *(record(str(number)) for number in range(5)))
    async with member(log, store.sink()) as one:
        await one.assign()
        await eventually(lambda: one.probe.done == 5)
        partition = Partition("records", 0)
        log.messages[partition] = log.messages[partition][:1]
        one.source.seek(partition, 0)  # as a client does whose position is out of range
        with pytest.raises(Misconfigured, match="is 5, but the log holds 0 to 1"):
            await one.running


async def test_a_topic_recreated_and_refilled_while_the_sink_was_stopped_stops_it(
    log: Log, store: SharedStore
) -> None:
    """Its log holds the stored offset, but not what was stored from before it."""
    log.put(0, *(record(str(number)) for number in range(5)))
    async with member(log, store.sink()) as one:
        await one.assign()
        await eventually(lambda: one.probe.done == 5)
    log.messages[Partition("records", 0)].clear()
    log.put(0, *(record(str(number)) for number in range(100, 110)))
    async with member(log, store.sink()) as two:
        await two.source.assign(every_partition())
        with pytest.raises(Misconfigured, match=r"offset 4.*PROMPTMILL_STORE"):
            async with asyncio.timeout(60):
                await two.running
    assert len(stored(store, RECORDS)) == 5


async def test_a_log_that_retention_has_emptied_up_to_the_position_is_read_on(
    log: Log, store: SharedStore
) -> None:
    partition = Partition("records", 0)
    log.put(0, record("a"), record("b"))
    async with member(log, store.sink()) as one:
        await one.assign()
        await eventually(lambda: one.probe.done == 2)
    log.first[partition] = 2
    log.messages[partition].clear()
    async with member(log, store.sink()) as two:
        await two.assign()
        log.put(0, record("c"))
        await eventually(lambda: two.probe.done == 1)
    assert len(stored(store, RECORDS)) == 3


async def test_a_source_that_is_lost_ends_the_sink(log: Log, store: SharedStore) -> None:
    async with member(log, store.sink()) as one:
        await one.assign()
        one.loop.on_lost(Fatal("the poll loop ended"))
        with pytest.raises(Fatal, match="poll loop"):
            await one.running


async def test_a_stopping_sink_stores_what_has_arrived(log: Log, store: SharedStore) -> None:
    slow = replace(QUICK, flush_delay_s=60)
    async with member(log, store.sink(), slow) as one:
        await one.assign()
        log.put(0, record("a"))
        await eventually(lambda: one.loop.waiting == 1)
        await one.stop()
    assert stored(store, RECORDS) == [pid("a")]
    assert not one.source.is_running


async def test_a_stopping_sink_waits_for_storage_no_longer_than_its_grace(
    log: Log, store: SharedStore
) -> None:
    async with member(log, store.sink(), replace(QUICK, grace_s=0.1)) as one:
        await one.assign()
        store.memory.failures = 10**9
        log.put(0, record("a"))
        await eventually(lambda: one.probe.retries)
        async with asyncio.timeout(60):
            await one.stop()
    assert stored(store, RECORDS) == []


async def test_files_are_merged_by_the_sink_with_the_first_shard(
    log: Log, store: SharedStore
) -> None:
    limits = replace(QUICK, compact_commits=1)
    first, other = Counting(store), Counting(store)
    async with member(log, first, limits) as one, member(log, other, limits) as two:
        await one.assign(0)
        await two.assign(1)
        log.put(0, record("a"))
        log.put(1, record("b"))
        await eventually(lambda: one.probe.done == two.probe.done == 1)
        await eventually(lambda: first.compacted == list(TableName))
        await eventually(lambda: first.vacuumed == [(name, 24) for name in TableName])
    assert other.compacted == []
    assert other.vacuumed == []
