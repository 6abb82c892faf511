"""Which member of a group gets which partitions, and which partition a message goes to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TypeAlias

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)

from promptmill.stream.layout import Layout

Partitioner: TypeAlias = Callable[[bytes, Sequence[int], Sequence[int]], int]


def by_layout(layout: Layout) -> Partitioner:
    """A partitioner that spreads keys over the layout's partitions.

    A topic with fewer partitions than the layout has them at its end left out; it is refused
    at the start of a worker, so this is one that changed afterwards.
    """

    def choose(key: bytes, every: Sequence[int], _available: Sequence[int]) -> int:
        return every[layout.partition_of(key) % len(every)]

    return choose


class CoPartitionedAssignor(RangePartitionAssignor):  # type: ignore[misc]
    """Range assignment that keeps partitions of one number together, whatever was added.

    Kafka's range assignor divides each topic by itself: with 12 partitions of one topic and 24
    of another, two members would hold number 6 of the first and of the second apart. Here the
    numbers are divided once, up to the highest, and each member gets its numbers of all topics.
    While all topics have equally many partitions, the answer is that of Kafka's assignor, so it
    keeps that name and members of earlier versions can be in the group during an upgrade.
    """

    @classmethod
    def assign(
        cls, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """By member, what it gets."""
        subscriptions = {frozenset(metadata.subscription) for metadata in members.values()}
        if len(subscriptions) != 1:
            answer: dict[str, ConsumerProtocolMemberAssignment] = super().assign(cluster, members)
            return answer
        (topics,) = subscriptions
        numbers = {topic: sorted(cluster.partitions_for_topic(topic) or ()) for topic in topics}
        shares = _divided(max((len(found) for found in numbers.values()), default=0), len(members))
        return {
            member: ConsumerProtocolMemberAssignment(
                cls.version,
                [(t, [n for n in numbers[t] if n in share]) for t in sorted(topics)],
                b"",
            )
            for member, share in zip(sorted(members), shares, strict=True)
        }


def _divided(count: int, members: int) -> list[range]:
    """``count`` numbers in consecutive shares; the first ones are larger by one."""
    size, extra = divmod(count, members)
    starts = [size * i + min(i, extra) for i in range(members + 1)]
    return [range(start, end) for start, end in pairwise(starts)]
