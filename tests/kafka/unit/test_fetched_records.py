"""Fetched records wait while their partition is paused, and are freed when they are dropped."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Iterator
from typing import Any
from weakref import ref

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.consumer.subscription_state import Assignment

import promptmill.kafka.client  # noqa: F401 - it prepares all consumers
from promptmill.kafka.fetched_records import AcyclicPartitionRecords, KeptFetchResult
from support.kafka_topics import record_batch

PLACE = TopicPartition("t", 0)


@pytest.fixture
def collects_nothing() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def fetched(count: int = 5) -> Any:
    raw = fetcher.MemoryRecords(record_batch([] for _ in range(count)))
    return fetcher.PartitionRecords(PLACE, raw, [], 0, None, None, True, 0)


def assigned() -> Assignment:
    assignment = Assignment([PLACE])
    assignment.state_value(PLACE).reset_to(0)
    return assignment


def result(assignment: Assignment) -> Any:
    return fetcher.FetchResult(PLACE, assignment=assignment, partition_records=fetched(), backoff=0)


def offsets(records: list[Any]) -> list[int]:
    return [record.offset for record in records]


def test_the_parts_that_are_replaced_are_used() -> None:
    assert fetcher.FetchResult is KeptFetchResult
    assert fetcher.PartitionRecords is AcyclicPartitionRecords
    source = inspect.getsource(fetcher.Fetcher)
    assert "self._records[tp] = FetchResult(" in source
    assert "type(res_or_error) is FetchResult" in source
    assert "partition_records = PartitionRecords(" in source


async def test_a_paused_partition_keeps_its_records() -> None:
    assignment = assigned()
    kept, state = result(assignment), assignment.state_value(PLACE)
    assert offsets(kept.getall(2)) == [0, 1]
    state.pause()
    assert kept.getall(2) == []
    assert kept.getone() is None
    assert kept.has_more()
    state.resume()
    assert offsets(kept.getall()) == [2, 3, 4]
    assert not kept.has_more()


async def test_records_are_dropped_after_a_seek_in_the_pause() -> None:
    assignment = assigned()
    kept, state = result(assignment), assignment.state_value(PLACE)
    state.pause()
    assert kept.getall() == []
    state.seek(3)
    state.resume()
    assert kept.getall() == []
    assert not kept.has_more()


async def test_records_of_a_lost_partition_are_dropped_although_it_is_paused() -> None:
    assignment = assigned()
    kept = result(assignment)
    assignment.state_value(PLACE).pause()
    assignment._unassign()
    assert kept.getall() == []
    assert not kept.has_more()


@pytest.mark.parametrize("read", [0, 2, 5])
@pytest.mark.usefixtures("collects_nothing")
def test_dropped_records_are_freed_without_the_collector(read: int) -> None:
    records = fetched()
    for _ in range(read):
        next(records)
    gone = ref(records)
    del records
    assert gone() is None
