"""The identity of a table: the cluster and topic of its offsets, and the last stored message.

A topic that was deleted and recreated has the same name and similar offsets. Its id, or the
message before the table's position, shows that it is another log.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b

from promptmill.runtime.errors import Misconfigured
from promptmill.stream.ports import Delivery

CLUSTER_ID = "promptmill.cluster_id"
TOPIC = "promptmill.topic"
PARTITIONS = "promptmill.partitions"
TOPIC_ID = "promptmill.topic_id"

OFFSET_BITS = 16
DIGEST_BITS = 47
_OFFSET_MASK = (1 << OFFSET_BITS) - 1


@dataclass(frozen=True, slots=True)
class Identity:
    """The log whose offsets a table stores.

    Attributes:
        cluster_id: the id that the brokers report.
        topic: the full name on the broker.
        partitions: the number in the data set's layout; the topic may have more.
        topic_id: the broker's id of the topic, which is different for a recreated topic; it is
            compared only if both sides know it.
    """

    cluster_id: str
    topic: str
    partitions: int
    topic_id: str | None = None

    def as_properties(self) -> dict[str, str]:
        """Return the table properties that store it."""
        properties = {
            CLUSTER_ID: self.cluster_id,
            TOPIC: self.topic,
            PARTITIONS: str(self.partitions),
        }
        return properties if self.topic_id is None else properties | {TOPIC_ID: self.topic_id}

    def check(self, table_uri: str, stored: Mapping[str, str]) -> None:
        """Compare with the properties of an existing table.

        Raises:
            Misconfigured: the table's offsets belong to another log.
        """
        for name, value in self.as_properties().items():
            found = stored.get(name)
            if found == value or (name == TOPIC_ID and found is None):
                continue
            raise Misconfigured(
                f"{table_uri}: {name} is {found!r}, but the broker reports {value!r}: the table's "
                "offsets belong to another log; connect to that cluster, or set PROMPTMILL_STORE "
                "to a new folder"
            )


def check_layout(known: int | None, counts: Mapping[str, int]) -> int:
    """Return the layout of a data set after comparing it with the topics.

    Args:
        known: the layout of the tables; ``None`` for a new data set, which takes the topics'.
        counts: the present number of partitions by topic, which may be larger.

    Raises:
        Misconfigured: a topic has fewer partitions than the layout, or the topics of a new data
            set have different numbers.
    """
    if known is None:
        check_equal(counts)
        return min(counts.values())
    if fewer := {topic: count for topic, count in counts.items() if count < known}:
        found = ", ".join(f"{topic} has {count}" for topic, count in fewer.items())
        raise Misconfigured(
            f"the data set is laid out for {known} partitions, but {found}: the topic was deleted "
            "and recreated with fewer; add partitions (kafka-topics --alter --partitions "
            f"{known}), or set PROMPTMILL_STORE to a new folder"
        )
    return known


def check_partitions(identities: Iterable[Identity]) -> None:
    """Check that the layouts of all tables are the same.

    Raises:
        Misconfigured: messages of one prompt would be in partitions with different numbers.
    """
    check_equal({identity.topic: identity.partitions for identity in identities})


def check_equal(counts: Mapping[str, int]) -> None:
    """Check that all topics have the same number of partitions.

    Raises:
        Misconfigured: messages of one prompt would be in partitions with different numbers.
    """
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{topic} has {count}" for topic, count in counts.items())
        most = max(counts.values())
        raise Misconfigured(
            f"the topics of a new data set have different numbers of partitions ({found}): all "
            "messages of one prompt must be in the same partition of every topic; give all of "
            f"them {most} partitions (kafka-topics --alter --partitions {most})"
        )


def check_end(table_uri: str, shard: int, stored: int, begin: int, end: int) -> None:
    """Check that the log reaches up to the table's position.

    Raises:
        Misconfigured: the log ends at ``end``, before ``stored``.
    """
    if stored <= end:
        return
    raise Misconfigured(
        f"{table_uri}: partition {shard} was stored up to offset {stored}, but the log ends "
        f"before it (it holds {begin} to {end}): the topic was recreated or truncated; restore "
        "it, or set PROMPTMILL_STORE to a new folder"
    )


def identify(delivery: Delivery) -> int:
    """Return 63 bits of a message's offset, key, timestamp and value, to recognise it again."""
    digest = blake2b(digest_size=8)
    digest.update(delivery.timestamp_ms.to_bytes(8, "big", signed=True))
    for part in (delivery.key, delivery.value):
        digest.update((-1 if part is None else len(part)).to_bytes(8, "big", signed=True))
        digest.update(part or b"")
    bits = int.from_bytes(digest.digest(), "big") >> (64 - DIGEST_BITS)
    return bits << OFFSET_BITS | (delivery.offset + 1) & _OFFSET_MASK


def is_of(last: int | None, next_offset: int | None) -> bool:
    """Return whether the number was stored in the same commit as this next offset."""
    return (
        last is not None
        and next_offset is not None
        and last & _OFFSET_MASK == (next_offset & _OFFSET_MASK)
    )


def check_last(table_uri: str, delivery: Delivery | None, shard: int, at: int, last: int) -> None:
    """Compare the message in the log with the one that the table stored from that offset.

    Args:
        delivery: the message in the log at offset ``at``, or ``None``.

    Raises:
        Misconfigured: they differ, so the topic was deleted and recreated, or truncated.
    """
    if delivery is not None and identify(delivery) == last:
        return
    found = "no message" if delivery is None else "another message"
    raise Misconfigured(
        f"{table_uri}: partition {shard} was stored up to offset {at}, and the log now holds "
        f"{found} there than the one that was stored: the topic was deleted and recreated, or "
        "truncated and refilled, and reading on would skip the messages before it. Set "
        "PROMPTMILL_STORE to a new folder to store the present topic from its beginning, or "
        "restore the topic"
    )
