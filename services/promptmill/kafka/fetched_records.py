"""Keeps fetched records while their partition is paused, and frees those that are dropped.

aiokafka drops the fetched records of a partition that is paused when they are polled, so that up to
a megabyte of each partition is fetched again after every pause. It was measured to fetch a
partition once for each pause. What is dropped there, at a rebalance or at a seek is part of a
reference cycle: a batch and the generator that reads it refer to each other. A cycle has few
objects, so the garbage collector hardly ever runs for it, and a filter that was held now and then
grew by 10 MiB a minute. Java's consumer keeps the records, too (KAFKA-7548).
``tests/kafka/unit/test_fetched_records.py`` fails if an upgrade changes the parts of aiokafka that
this module uses.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from weakref import proxy

from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import FetchResult, PartitionRecords


class KeptFetchResult(FetchResult):  # type: ignore[misc]
    """The fetched records of a partition, which wait while it is paused."""

    def check_assignment(self, tp: TopicPartition) -> bool:
        """Return whether records may be returned now; drop them only if they are out of place."""
        assignment = self._assignment
        if assignment.active and assignment.state_value(self._topic_partition).paused:
            return False
        return bool(super().check_assignment(tp))


class AcyclicPartitionRecords(PartitionRecords):  # type: ignore[misc]
    """Fetched batches whose generator does not keep them alive."""

    def _unpack_records(self) -> Iterator[Any]:
        unpacked: Iterator[Any] = PartitionRecords._unpack_records(proxy(self))  # noqa: SLF001 - of the base class
        return unpacked


def keep_paused_records() -> None:
    """Let all consumers of this process keep the fetched records of paused partitions."""
    fetcher.FetchResult = KeptFetchResult
    fetcher.PartitionRecords = AcyclicPartitionRecords
