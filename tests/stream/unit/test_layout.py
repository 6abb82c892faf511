"""Which partition a key belongs to, and which messages are moved there."""

from __future__ import annotations

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from promptmill.kafka.partitioning import CoPartitionedAssignor, by_layout
from promptmill.stream.layout import DataSetLayout, Placement, murmur2

TOPICS = ("dead-letters", "prompts", "records", "rejects")


def test_the_hash_is_that_of_kafkas_java_client() -> None:
    """The vectors of Kafka's own ``UtilsTest``."""
    vectors = {
        b"21": -973932308,
        b"foobar": -790332482,
        b"a-little-bit-long-string": -985981536,
        b"a-little-bit-longer-string": -1486304829,
        b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
        b"abc": 479470107,
    }
    assert {key: murmur2(key) for key in vectors} == {k: v % 2**32 for k, v in vectors.items()}


@given(st.binary(max_size=40), st.integers(1, 64), st.integers(0, 64))
def test_while_nothing_was_added_keys_lie_where_the_default_partitioner_puts_them(
    key: bytes, partitions: int, added: int
) -> None:
    before, now = list(range(partitions)), list(range(partitions + added))
    expected = DefaultPartitioner()(key, before, before)
    assert by_layout(DataSetLayout(partitions))(key, now, now) == expected


def test_a_message_is_moved_once_by_a_process_and_not_without_a_known_layout() -> None:
    layout = DataSetLayout(2)
    placement, right = Placement(layout), layout.partition_of(b"key")
    assert not placement.is_to_be_moved(right, b"key")
    assert placement.is_to_be_moved(1 - right, b"key")
    assert not placement.is_to_be_moved(2, b"key")
    assert not Placement(DataSetLayout(2, is_known=False)).is_to_be_moved(1 - right, b"key")


class Cluster:
    """The metadata of a cluster, as far as an assignor asks for them."""

    def __init__(self, counts: dict[str, int]) -> None:
        self._counts = counts

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        """The numbers of its partitions."""
        return set(range(self._counts[topic]))


def assigned(
    assignor: type[RangePartitionAssignor], counts: dict[str, int], members: int
) -> list[dict[str, list[int]]]:
    """What each member gets."""
    metadata = {f"member-{n}": assignor.metadata(list(counts)) for n in range(members)}
    cluster: ClusterMetadata = Cluster(counts)
    answer = assignor.assign(cluster, metadata)
    return [{topic: list(found) for topic, found in answer[m].assignment} for m in sorted(metadata)]


@given(st.integers(1, 30), st.integers(1, 5))
def test_with_equal_numbers_the_assignment_is_kafkas_own(partitions: int, members: int) -> None:
    counts = dict.fromkeys(TOPICS, partitions)
    expected = assigned(RangePartitionAssignor, counts, members)
    assert assigned(CoPartitionedAssignor, counts, members) == expected


@given(st.lists(st.integers(1, 30), min_size=4, max_size=4), st.integers(1, 5))
def test_with_different_numbers_partitions_of_one_number_stay_together(
    numbers: list[int], members: int
) -> None:
    counts = dict(zip(TOPICS, numbers, strict=True))
    shares = assigned(CoPartitionedAssignor, counts, members)
    owners = [{n for numbers in share.values() for n in numbers} for share in shares]
    assert sum(map(len, owners)) == max(numbers)
    assert set.union(*owners) == set(range(max(numbers)))
    for topic, count in counts.items():
        assert sorted(n for share in shares for n in share[topic]) == list(range(count))
