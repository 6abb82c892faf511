"""Which delivery may come next, whatever the client hands over."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

import pytest

from promptmill.runtime.errors import Misconfigured, Unavailable
from promptmill.stream.intake import OrderedIntake
from promptmill.stream.lost_records import Gap, LogCheck, LostRecords, pass_over
from promptmill.stream.ports import Delivery, Partition
from promptmill.testing.broker import MemoryBroker, MemorySource

A, B = Partition("items", 0), Partition("items", 1)


class Bounded(MemorySource):
    """A log whose bounds a test sets; it notes where it was sought to."""

    def __init__(self, bounds: tuple[int, int]) -> None:
        super().__init__(MemoryBroker(), "g", ["items"])
        self.log = bounds
        self.sought: list[tuple[Partition, int]] = []
        self.answer = asyncio.Event()
        self.answer.set()

    async def bounds(
        self, partitions: Collection[Partition]
    ) -> Mapping[Partition, tuple[int, int]]:
        await self.answer.wait()
        return dict.fromkeys(partitions, self.log)

    def seek(self, partition: Partition, offset: int) -> None:
        self.sought.append((partition, offset))


@pytest.fixture
def intake() -> OrderedIntake:
    """Both partitions open at offset 5."""
    made = OrderedIntake()
    made.expect(A, 5)
    made.expect(B, 5)
    return made


def taken(intake: OrderedIntake, partition: Partition, *offsets: int) -> list[int]:
    """Those of the offsets that are admitted."""
    return [o for o in offsets if intake.admit(Delivery(partition, o, None, b"x"))]


async def recheck(intake: OrderedIntake, first: int = 0, end: int = 99, *accepted: Gap) -> Bounded:
    async def read() -> Collection[Gap]:
        return accepted

    source = Bounded((first, end))
    await intake.recheck(source, LogCheck("stage", read))
    return source


@pytest.mark.parametrize("seen", [4, 7])
def test_another_offset_than_the_expected_one_makes_the_partition_suspect(
    intake: OrderedIntake, seen: int
) -> None:
    assert taken(intake, A, seen, seen + 1, 5) == []
    assert intake.suspects == [A]
    assert not intake.is_open(A)
    assert taken(intake, B, 5, 6) == [5, 6], "the other partition goes on"


async def test_a_gap_that_comes_twice_is_no_gap_in_the_log(intake: OrderedIntake) -> None:
    taken(intake, A, 9)
    source = await recheck(intake)
    assert source.sought == [(A, 5)]
    assert taken(intake, A, 9, 10) == []
    source = await recheck(intake, 5)
    assert source.sought == [(A, 9)]
    assert taken(intake, A, 9, 10) == [9, 10]


async def test_a_gap_that_comes_twice_because_of_retention_meanwhile_is_a_loss(
    intake: OrderedIntake,
) -> None:
    """The client dropped 5 to 8 at first; when it was to read them again they were deleted."""
    taken(intake, A, 9)
    await recheck(intake)
    taken(intake, A, 9)
    with pytest.raises(LostRecords, match="items-0: offsets 5 to 8"):
        await recheck(intake, 9)


async def test_what_the_client_dropped_is_taken_when_it_comes_after_all(
    intake: OrderedIntake,
) -> None:
    taken(intake, A, 9)
    await recheck(intake)
    assert taken(intake, A, 5, 6, 7, 8, 9) == [5, 6, 7, 8, 9]


async def test_a_gap_that_changes_is_looked_into_again(intake: OrderedIntake) -> None:
    taken(intake, A, 9)
    await recheck(intake)
    assert taken(intake, A, 11) == []
    await recheck(intake)
    assert taken(intake, A, 9, 11) == []
    await recheck(intake)
    assert taken(intake, A, 5, 9) == [5]
    assert intake.suspects == [A]


async def test_an_earlier_offset_is_never_taken_again(intake: OrderedIntake) -> None:
    taken(intake, A, 4)
    await recheck(intake)
    assert taken(intake, A, 4) == []
    assert intake.suspects == [A]


async def test_a_log_that_begins_beyond_what_is_expected_has_lost_records(
    intake: OrderedIntake,
) -> None:
    taken(intake, A, 8)
    with pytest.raises(LostRecords, match="items-0: offsets 5 to 7") as caught:
        await recheck(intake, 8)
    assert "3 records of the stage stage are lost" in str(caught.value)
    assert caught.value.gaps == (Gap(A, 5, 7),)
    assert not intake.is_open(A)


async def test_an_accepted_gap_is_passed_over(intake: OrderedIntake) -> None:
    taken(intake, A, 8)
    source = await recheck(intake, 8, 99, Gap(A, 5, 7), Gap(B, 0, 50))
    assert source.sought == [(A, 8)]
    assert taken(intake, A, 8) == [8]


async def test_a_log_that_ends_before_what_is_expected_is_another_one(
    intake: OrderedIntake,
) -> None:
    taken(intake, A, 0)
    with pytest.raises(Misconfigured, match=r"the next offset of .* is 5, but the log holds 0 to"):
        await recheck(intake, 0, 3)


async def test_bounds_that_cannot_be_read_leave_the_partition_suspect(
    intake: OrderedIntake,
) -> None:
    class Away(Bounded):
        async def bounds(
            self, partitions: Collection[Partition]
        ) -> Mapping[Partition, tuple[int, int]]:
            raise Unavailable("the leader is moving")

    taken(intake, A, 9)
    with pytest.raises(Unavailable):
        await intake.recheck(Away((0, 99)), LogCheck("stage"))
    assert taken(intake, A, 5, 9) == []


@pytest.mark.parametrize("comes_back", [True, False])
async def test_a_partition_that_leaves_during_the_recheck_is_left_alone(
    intake: OrderedIntake, *, comes_back: bool
) -> None:
    """Its next assignment begins at a position of its own, perhaps another member's."""
    source = Bounded((0, 99))
    source.answer.clear()
    taken(intake, A, 9)
    rechecking = asyncio.create_task(intake.recheck(source, LogCheck("stage")))
    await asyncio.sleep(0)
    intake.close([A])
    if comes_back:
        intake.expect(A, 20)
    source.answer.set()
    await rechecking
    assert source.sought == []
    assert taken(intake, A, 5, 9) == []
    assert intake.is_suspect(A) is comes_back


async def test_acceptances_that_cannot_be_read_count_as_none() -> None:
    async def unreadable() -> Collection[Gap]:
        raise Unavailable("the store is not mounted")

    with pytest.raises(LostRecords):
        await LogCheck("stage", unreadable).resume({A: 0}, {A: (3, 9)})


async def test_acceptances_are_read_only_when_something_is_lost() -> None:
    async def unexpected() -> Collection[Gap]:
        raise AssertionError("read although nothing is lost")

    check = LogCheck("stage", unexpected)
    assert await check.resume({A: 3}, {A: (3, 9)}) == {A: 3}


@pytest.mark.parametrize(
    ("accepted", "reached"),
    [([], 3), ([(3, 5)], 6), ([(0, 9)], 8), ([(4, 9)], 3), ([(5, 9), (0, 4)], 8), ([(0, 2)], 3)],
)
def test_only_what_is_covered_without_a_hole_is_passed(
    accepted: list[tuple[int, int]], reached: int
) -> None:
    gaps = [Gap(A, first, last) for first, last in accepted]
    assert pass_over(3, 8, gaps) == reached
