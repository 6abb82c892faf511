"""What every stage relies on: each record once at least, offsets only when done."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from promptmill.runtime.errors import EngineDead, Poison, Transient, Unavailable, reason_of
from promptmill.stream.layout import DataSetLayout
from promptmill.stream.outcome import Drop, Emit, Outcome, Outgoing
from promptmill_schemas import decode
from support.streams import ECHOES, ITEMS, QUICK, Harness, Item, done_in, echo, record_commits
from support.waiting import eventually

ITEMS_IN_A_TEST = 60


def items(count: int = ITEMS_IN_A_TEST) -> list[Item]:
    return [Item(number=number) for number in range(count)]


async def settled(harness: Harness, count: int = ITEMS_IN_A_TEST) -> bool:
    return await harness.committed() == count


async def test_every_item_is_echoed_once_and_committed(harness: Harness) -> None:
    await harness.publish(*items())
    member = await harness.member()
    await eventually(lambda: settled(harness))
    await member.stop()
    assert sorted(await harness.echoes()) == list(range(ITEMS_IN_A_TEST))


async def test_items_published_while_it_runs_are_echoed_too(harness: Harness) -> None:
    await harness.member()
    await harness.publish(*items(10))
    await eventually(lambda: settled(harness, 10))
    await harness.publish(*items(20)[10:])
    await eventually(lambda: settled(harness, 20))


async def test_a_transient_failure_is_tried_again_in_place(harness: Harness) -> None:
    tries: Counter[int] = Counter()

    async def work(item: Item) -> Outcome:
        tries[item.number] += 1
        if item.number == 3 and tries[3] < 3:
            raise Transient("not yet")
        return await echo(item)

    await harness.publish(*items(6))
    await harness.member(work)
    await eventually(lambda: settled(harness, 6))
    assert sorted(await harness.echoes()) == list(range(6))
    assert tries[3] == 3
    assert await harness.letters() == []


@pytest.mark.parametrize(
    ("error", "reason", "attempts"),
    [
        (Transient("always"), "transient", QUICK.attempts),
        (Poison("never"), "poison", 1),
        (RuntimeError("a bug"), "runtime_error", QUICK.attempts),
    ],
)
async def test_what_cannot_succeed_is_buried_and_the_partition_goes_on(
    harness: Harness, error: Exception, reason: str, attempts: int
) -> None:
    async def work(item: Item) -> Outcome:
        if item.number == 2:
            raise error
        return await echo(item)

    await harness.publish(*items(8))
    await harness.member(work)
    await eventually(lambda: settled(harness, 8))
    (letter,) = await harness.letters()
    assert (letter.reason, letter.attempts, letter.stage) == (reason, attempts, "echo")
    assert letter.original_value == items(8)[2].model_dump_json().encode()
    assert sorted(await harness.echoes()) == [0, 1, 3, 4, 5, 6, 7]


async def test_bytes_that_are_no_contract_are_buried_with_the_reason(harness: Harness) -> None:
    bad = [b"not json", b'{"number": "x"}', b"\xff\xfe", b"[" * 1000 + b"]" * 1000]
    await harness.publish_raw(*bad, b'{"number": 5}')
    await harness.member()
    await eventually(lambda: settled(harness, 5))
    letters = await harness.letters()
    assert sorted(letter.original_value or b"" for letter in letters) == sorted(bad)
    assert {letter.reason for letter in letters} == {"contract_error"}
    assert await harness.echoes() == [5]


async def test_an_absent_dependency_is_waited_for_and_never_counted(harness: Harness) -> None:
    away = True

    async def work(item: Item) -> Outcome:
        if away:
            raise Unavailable("Redis is down", retry_after_s=0.01)
        return await echo(item)

    await harness.publish(*items(4))
    member = await harness.member(work)
    await eventually(lambda: member.probe.retries["unavailable"] > 40)
    away = False
    await eventually(lambda: settled(harness, 4))
    assert await harness.letters() == []


async def test_a_wait_for_a_dependency_is_no_time_at_work(harness: Harness) -> None:
    tries: Counter[int] = Counter()

    async def work(item: Item) -> Outcome:
        tries[item.number] += 1
        if tries[item.number] == 1:
            raise Unavailable("the server asks to come back later", retry_after_s=1.0)
        return await echo(item)

    await harness.publish(*items(2))
    await harness.member(work, replace(QUICK, deadline_s=0.3))
    await eventually(lambda: settled(harness, 2))
    assert await harness.letters() == []
    assert sorted(await harness.echoes()) == [0, 1]


async def test_a_record_that_hangs_is_buried_at_its_deadline(harness: Harness) -> None:
    async def work(item: Item) -> Outcome:
        if item.number == 1:
            await asyncio.Event().wait()
        return await echo(item)

    await harness.publish(*items(30))
    await harness.member(work, replace(QUICK, deadline_s=0.4))
    await eventually(lambda: settled(harness, 30))
    (letter,) = await harness.letters()
    assert letter.reason == "deadline"
    assert sorted(await harness.echoes()) == [n for n in range(30) if n != 1]


async def test_a_fatal_error_ends_the_loop_and_commits_nothing_of_it(harness: Harness) -> None:
    async def work(item: Item) -> Outcome:
        raise EngineDead("the engine's process is gone")

    await harness.publish(*items(5))
    member = await harness.member(work)
    with pytest.raises(EngineDead):
        await member.task
    assert await harness.committed() == 0
    await harness.member()
    await eventually(lambda: settled(harness, 5))
    assert sorted(await harness.echoes()) == list(range(5))


async def test_after_a_crash_only_what_was_in_flight_is_done_again(harness: Harness) -> None:
    gate = asyncio.Event()
    started: Counter[int] = Counter()

    async def work(item: Item) -> Outcome:
        started[item.number] += 1
        if item.number % 10 == 0:
            await gate.wait()
        return await echo(item)

    settings = replace(QUICK, slots=16)
    member = await harness.member(work, settings)
    positions = record_commits(member)
    await harness.publish(*items())
    stuck = {n for n in range(ITEMS_IN_A_TEST) if n % 10 == 0}
    await eventually(lambda: len(started) == ITEMS_IN_A_TEST)
    await eventually(lambda: member.loop.in_flight == len(stuck))
    await eventually(lambda: done_in(positions) == ITEMS_IN_A_TEST - len(stuck))
    before = await harness.committed()
    await member.crash()
    assert before < ITEMS_IN_A_TEST
    gate.set()
    await harness.member(work, settings)
    await eventually(lambda: settled(harness))
    assert {n for n, count in started.items() if count > 1} == stuck
    assert sorted(await harness.echoes()) == list(range(ITEMS_IN_A_TEST))


async def test_stopping_drains_what_is_at_work(harness: Harness) -> None:
    gate = asyncio.Event()
    started = asyncio.Event()

    async def work(item: Item) -> Outcome:
        started.set()
        await gate.wait()
        return await echo(item)

    await harness.publish(*items(3))
    member = await harness.member(work)
    await eventually(lambda: member.loop.in_flight == 3)
    member.loop.stop()
    await asyncio.sleep(0.1)
    assert not member.task.done()
    gate.set()
    await member.task
    assert await harness.committed() == 3
    assert sorted(await harness.echoes()) == [0, 1, 2]


async def test_a_drain_ends_at_the_grace_period(harness: Harness) -> None:
    async def work(item: Item) -> Outcome:
        if item.number == 0:
            await asyncio.Event().wait()
        return await echo(item)

    await harness.publish(*items(3))
    member = await harness.member(work, replace(QUICK, grace_s=0.3))
    await eventually(lambda: member.loop.in_flight == 1 and member.probe.outcomes["emit"] == 2)
    await member.stop()
    assert sorted(await harness.echoes()) == [1, 2]
    await harness.member()
    await eventually(lambda: settled(harness, 3))
    assert Counter(await harness.echoes()) == {0: 1, 1: 1, 2: 1}


async def test_members_share_the_work_and_hand_it_over(harness: Harness) -> None:
    shared = asyncio.Event()

    async def work(item: Item) -> Outcome:
        if item.number >= 100:
            await shared.wait()
        return await echo(item)

    await harness.publish(*items(1_000))
    first = await harness.member(work)
    await eventually(lambda: first.probe.outcomes["emit"] > 10)
    second = await harness.member(work)
    await eventually(lambda: second.loop.assigned)
    shared.set()
    await eventually(lambda: second.probe.outcomes["emit"] > 10)
    await first.stop()
    await eventually(lambda: settled(harness, 1_000))
    counts = Counter(await harness.echoes())
    assert set(counts) == set(range(1_000))
    assert sum(counts.values()) - 1_000 <= 2 * QUICK.slots


async def test_a_dropped_record_is_done(harness: Harness) -> None:
    async def work(item: Item) -> Outcome:
        return Drop("variant")

    await harness.publish(*items(5))
    member = await harness.member(work)
    await eventually(lambda: settled(harness, 5))
    assert member.probe.outcomes == {"drop:variant": 5}
    assert await harness.echoes() == []


async def test_a_held_loop_pulls_nothing_until_released(harness: Harness) -> None:
    member = await harness.member()
    await eventually(lambda: len(member.loop.assigned) == 4)
    member.loop.hold()
    await harness.publish(*items(10))
    await asyncio.sleep(0.3)
    assert member.probe.outcomes == {}
    second = await harness.member()  # a rebalance forgets pauses; the held member re-applies them
    second.loop.hold()
    await eventually(lambda: len(second.loop.assigned) == 2)
    await asyncio.sleep(0.3)
    assert member.probe.outcomes == second.probe.outcomes == {}
    member.loop.release()
    second.loop.release()
    await eventually(lambda: settled(harness, 10))


async def test_waiting_records_are_bounded_by_pausing(harness: Harness) -> None:
    gate = asyncio.Event()

    async def work(item: Item) -> Outcome:
        await gate.wait()
        return await echo(item)

    settings = replace(QUICK, slots=2, prefetch=400, grace_s=0.1)
    await harness.publish(*items(4_000))
    member = await harness.member(work, settings)
    await eventually(lambda: len([1 for lane in member.loop._partitions if lane.paused]) == 4)
    await asyncio.sleep(0.3)
    one_poll = 500
    assert member.loop.waiting <= one_poll + 2 * settings.prefetch
    gate.set()
    await eventually(lambda: settled(harness, 4_000))
    assert sorted(await harness.echoes()) == list(range(4_000))


async def test_a_message_larger_than_the_broker_takes_is_buried(harness: Harness) -> None:
    async def work(item: Item) -> Outcome:
        if item.number == 1:
            return await echo(Item(number=1, text="x" * 17_000_000))
        return await echo(item)

    await harness.publish(*items(3))
    await harness.member(work)
    await eventually(lambda: settled(harness, 3))
    (letter,) = await harness.letters()
    assert letter.reason == "poison"
    assert "larger than the broker accepts" in letter.detail
    assert sorted(await harness.echoes()) == [0, 2]


async def test_of_an_outcome_that_is_partly_too_large_nothing_is_sent(harness: Harness) -> None:
    """A record beside a dead letter would be two fates of one prompt."""
    small = replace(ECHOES, max_message_bytes=100)

    async def work(item: Item) -> Outcome:
        large = Item(number=100 + item.number, text="x" * 200)
        return Emit((Outgoing(small, item), Outgoing(small, large)))

    await harness.publish(*items(3))
    await harness.member(work)
    await eventually(lambda: settled(harness, 3))
    assert {letter.reason for letter in await harness.letters()} == {"poison"}
    assert await harness.echoes() == []


async def test_single_messages_are_read_back_by_their_offset(harness: Harness) -> None:
    await harness.publish(*(Item(number=number) for number in range(40)))
    member = await harness.member()
    await eventually(member.loop.joined.is_set)
    published = await harness.broker.read(harness.broker.prefix + ITEMS.name)
    wanted = {delivery.partition: delivery.offset // 2 for delivery in published}
    found = await member.source.messages_at(wanted)
    assert {p: at.offset for p, at in found.items()} == wanted
    assert set(found.values()) <= set(published)
    assert await member.source.messages_at({}) == {}


async def test_items_in_another_partition_than_the_layout_gives_are_moved_once(
    harness: Harness,
) -> None:
    """The topic has four partitions now, the data set is laid out for two."""
    layout = DataSetLayout(2)
    await harness.publish(*items())
    worked = list[int]()

    async def note(item: Item) -> Outcome:
        worked.append(item.number)
        return await echo(item)

    member = await harness.member(note, replace(QUICK, layout=layout))
    # An item is worked on where it was moved to, perhaps before the move is acknowledged.
    await eventually(lambda: member.probe.outcomes["emit"] == ITEMS_IN_A_TEST)
    await eventually(lambda: member.loop.in_flight == 0)
    moved = member.probe.outcomes["move"]
    found = await harness.broker.read(harness.broker.prefix + ITEMS.name)
    right = [d.value for d in found if d.partition.number == layout.partition_of(d.key or b"")]
    assert sorted(map(str, right)) == sorted(str(i.model_dump_json().encode()) for i in items())
    assert len(found) == ITEMS_IN_A_TEST + moved
    assert moved > 0
    await member.stop()
    assert sorted(worked) == sorted(await harness.echoes()) == list(range(ITEMS_IN_A_TEST))
    assert await harness.committed() == ITEMS_IN_A_TEST + moved


async def test_a_message_too_large_for_a_dead_letter_leaves_its_head_size_and_place(
    harness: Harness,
) -> None:
    """In memory the broker refuses the letter; on Kafka the contract's own limit is passed."""
    size = (11 if harness.broker.prefix else 7) * 1024 * 1024
    raw = b'"' + b"x" * size
    await harness.publish_raw(raw)
    await harness.publish(Item(number=1))
    await harness.member()
    await eventually(lambda: settled(harness, 2))
    (letter,) = await harness.letters()
    assert (letter.reason, letter.original_size) == ("contract_error", len(raw))
    assert letter.is_of(raw)
    assert raw.startswith(letter.original_value or b"nothing")
    assert await harness.echoes() == [1]


@pytest.mark.parametrize(
    "error", [RecursionError("deep"), MemoryError(), KeyError(b"k"), TypeError("no")], ids=reason_of
)
async def test_whatever_reading_a_message_raises_it_is_dead_lettered(
    harness: Harness, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(contract: type[Item], raw: bytes | None) -> Item:
        if raw == b"bad":
            raise error
        return decode(contract, raw)

    monkeypatch.setattr("promptmill.stream.attempts.decode", fails)
    await harness.publish_raw(b"bad")
    await harness.publish(Item(number=1))
    await harness.member()
    await eventually(lambda: settled(harness, 2))
    (letter,) = await harness.letters()
    assert letter.reason == reason_of(error)
    assert await harness.echoes() == [1]


async def test_an_answer_that_json_cannot_carry_is_dead_lettered(harness: Harness) -> None:
    async def half_a_pair(item: Item) -> Outcome:
        return Emit((Outgoing(ECHOES, Item.model_construct(number=item.number, text="\ud800")),))

    await harness.publish(Item(number=1))
    await harness.member(half_a_pair)
    await eventually(lambda: settled(harness, 1))
    (letter,) = await harness.letters()
    assert letter.reason == "poison"
    assert await harness.echoes() == []
