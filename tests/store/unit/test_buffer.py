"""The queue before a flush: in order, gapless, bounded."""

from __future__ import annotations

import math

import pytest

from promptmill.runtime.errors import Misconfigured
from promptmill.store.buffer import FLUSH_SHARE, MAX_DELAY_S, Buffer
from promptmill.store.limits import SinkLimits
from promptmill.stream.ports import Delivery, Partition

A, B = Partition("records", 0), Partition("records", 1)
LIMITS = SinkLimits(flush_rows=3, flush_bytes=100, buffer_rows=6, buffer_bytes=200)


class Clock:
    """Time that stands still until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def deliver(partition: Partition, *offsets: int, size: int = 1) -> list[Delivery]:
    """Messages of ``size`` bytes."""
    return [Delivery(partition, offset, None, b"x" * size) for offset in offsets]


@pytest.fixture
def clock() -> Clock:
    """A clock at 0."""
    return Clock()


@pytest.fixture
def buffer(clock: Clock) -> Buffer:
    """Both partitions open at offset 5."""
    made = Buffer(LIMITS, clock)
    made.order.expect(A, 5)
    made.order.expect(B, 5)
    return made


def offsets(deliveries: list[Delivery]) -> list[tuple[int, int]]:
    """Shard and offset of each."""
    return [(delivery.partition.number, delivery.offset) for delivery in deliveries]


def test_what_is_expected_is_taken_in_order_of_arrival(buffer: Buffer) -> None:
    buffer.take_in(deliver(B, 5))
    buffer.take_in(deliver(A, 5, 6))
    assert offsets(buffer.take_out()) == [(1, 5), (0, 5), (0, 6)]
    assert (buffer.rows, buffer.bytes) == (0, 0)


def test_what_arrives_for_a_partition_that_is_not_open_is_left(buffer: Buffer) -> None:
    buffer.take_in(deliver(Partition("records", 2), 0))
    buffer.close([B])
    buffer.take_in(deliver(B, 5))
    assert buffer.rows == 0


def test_a_closed_partition_loses_what_waits_and_the_others_keep_theirs(buffer: Buffer) -> None:
    buffer.take_in([*deliver(A, 5, size=7), *deliver(B, 5, size=3)])
    buffer.close([A])
    assert (buffer.rows, buffer.bytes, buffer.holds([A])) == (1, 3, False)
    assert offsets(buffer.take_out()) == [(1, 5)]


def test_a_shut_partition_takes_nothing_more_and_keeps_what_waits(buffer: Buffer) -> None:
    buffer.take_in(deliver(A, 5))
    buffer.shut([A])
    buffer.take_in(deliver(A, 6))
    assert buffer.holds([A])
    assert offsets(buffer.take_out()) == [(0, 5)]


def test_a_flush_is_due_when_the_oldest_has_waited_long_enough(
    buffer: Buffer, clock: Clock
) -> None:
    assert buffer.due_in_s() == math.inf
    buffer.take_in(deliver(A, 5))
    clock.now = 0.4
    buffer.take_in(deliver(A, 6))
    assert buffer.due_in_s() == pytest.approx(0.6)
    clock.now = 2.0
    assert buffer.due_in_s() == 0.0


def test_a_flush_is_due_at_once_when_it_is_large_enough(buffer: Buffer) -> None:
    buffer.take_in(deliver(A, 5, 6, 7))
    assert buffer.due_in_s() == 0.0
    buffer.take_out()
    buffer.take_in(deliver(B, 5, size=100))
    assert buffer.due_in_s() == 0.0


def test_a_flush_takes_at_most_its_rows_and_bytes_but_at_least_one(buffer: Buffer) -> None:
    buffer.take_in(deliver(A, 5, 6, 7, 8))
    assert offsets(buffer.take_out()) == [(0, 5), (0, 6), (0, 7)]
    buffer.take_in(deliver(B, 5, size=500))
    assert offsets(buffer.take_out()) == [(0, 8)]
    assert offsets(buffer.take_out()) == [(1, 5)]


def test_it_is_full_at_its_limit_and_until_half_of_it_is_free(buffer: Buffer) -> None:
    buffer.take_in(deliver(A, 5, 6, 7, 8, 9))
    assert not buffer.is_full(was_full=False)
    buffer.take_in(deliver(A, 10))
    assert buffer.is_full(was_full=False)
    buffer.take_out()
    assert buffer.is_full(was_full=True)
    buffer.take_out()
    assert not buffer.is_full(was_full=True)


def test_it_is_full_by_bytes_too(buffer: Buffer) -> None:
    buffer.take_in(deliver(A, 5, size=200))
    assert buffer.is_full(was_full=False)


def test_limits_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(Misconfigured, match="buffer_rows is 10, below flush_rows"):
        SinkLimits(flush_rows=11, buffer_rows=10)
    with pytest.raises(Misconfigured, match="flush_delay_s"):
        SinkLimits(flush_delay_s=0)


def test_slow_flushes_become_rarer_and_never_rarer_than_the_bound(
    buffer: Buffer, clock: Clock
) -> None:
    for _ in range(20):
        buffer.adapt(2.0)
    assert buffer.delay_s == pytest.approx(FLUSH_SHARE * 2.0, rel=0.01)
    buffer.take_in(deliver(A, 5))
    assert buffer.due_in_s() == pytest.approx(buffer.delay_s)
    for _ in range(20):
        buffer.adapt(1000.0)
    assert buffer.delay_s == MAX_DELAY_S


def test_a_full_flush_is_due_at_once_however_slow_flushes_are(buffer: Buffer) -> None:
    buffer.adapt(1000.0)
    buffer.take_in(deliver(A, 5, 6, 7))
    assert buffer.due_in_s() == 0.0


def test_fast_flushes_leave_the_delay_as_it_is_set(buffer: Buffer) -> None:
    buffer.adapt(1000.0)
    for _ in range(30):
        buffer.adapt(0.01)
    assert buffer.delay_s == LIMITS.flush_delay_s
