"""Assigns partitions to the members of a group, and messages to partitions."""

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

from promptmill.stream.layout import DataSetLayout

Partitioner: TypeAlias = Callable[[bytes, Sequence[int], Sequence[int]], int]


def by_layout(layout: DataSetLayout) -> Partitioner:
    """Create a partitioner that spreads keys over the layout's partitions.

    A worker refuses topics with fewer partitions than the layout when it starts. If a topic is
    recreated with fewer ones afterwards, the keys wrap around.
    """

    def choose(key: bytes, every: Sequence[int], _available: Sequence[int]) -> int:
        return every[layout.partition_of(key) % len(every)]

    return choose


class CoPartitionedAssignor(RangePartitionAssignor):  # type: ignore[misc]
    """Range assignment that gives partitions of the same number to the same member.

    Kafka's range assignor divides each topic separately: with 12 partitions of one topic and 24
    of another, two members would get number 6 of the first and number 6 of the second. This
    assignor divides the numbers once, up to the highest, and each member gets its numbers of all
    topics. If all topics have the same number of partitions, the result is that of Kafka's
    assignor. So it keeps that name, and members of earlier versions can join during an upgrade.
    """

    @classmethod
    def assign(
        cls, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Return the assignment of each member."""
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
    """Divide ``count`` numbers into consecutive ranges, of which the first may be larger by one."""
    size, extra = divmod(count, members)
    starts = [size * i + min(i, extra) for i in range(members + 1)]
    return [range(start, end) for start, end in pairwise(starts)]
