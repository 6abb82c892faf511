"""Chooses the partition of a key by the layout of a data set, not by the topic's current size.

The layout is the number of partitions that the topics had when the tables of the data set were
created. Partitions can be added to a topic at any time but never removed; a producer that hashes
over the current number would then send a prompt's messages to another partition than before. So
all producers of promptmill hash over the layout's number, with the hash of Kafka's default
partitioner: as long as no partitions were added, other clients choose the same partitions.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from struct import Struct

SEED = 0x9747B28C
FACTOR = 0x5BD1E995
MASK = 0xFFFFFFFF
POSITIVE = 0x7FFFFFFF
REMEMBERED = 100_000
WORD = Struct("<I")


def murmur2(key: bytes) -> int:
    """Kafka's 32-bit hash of a key (``org.apache.kafka.common.utils.Utils.murmur2``)."""
    whole = len(key) & ~3
    value = SEED ^ len(key)
    for (word,) in WORD.iter_unpack(key[:whole]):
        part = word * FACTOR & MASK
        part = (part ^ part >> 24) * FACTOR & MASK
        value = value * FACTOR & MASK ^ part
    if rest := key[whole:]:
        value = (value ^ int.from_bytes(rest, "little")) * FACTOR & MASK
    value = (value ^ value >> 13) * FACTOR & MASK
    return value ^ value >> 15


@dataclass(frozen=True, slots=True)
class DataSetLayout:
    """The number of partitions over which a data set spreads its keys.

    Attributes:
        partitions: the number; the topics may have more by now.
        is_known: whether it was read from the data set. Otherwise it is the current number of the
            topics, which is right unless partitions were added.
    """

    partitions: int
    is_known: bool = True

    def partition_of(self, key: bytes) -> int:
        """The partition in which messages of this key belong."""
        return (murmur2(key) & POSITIVE) % self.partitions


class Placement:
    """Finds misplaced messages.

    A process moves each key only once. Otherwise two workers that know different layouts would
    send the same message back and forth. After one move each, one of them processes it where it
    is, and only the place of the prompt's row in the store differs.
    """

    def __init__(self, layout: DataSetLayout) -> None:
        self._layout = layout
        self._moved: OrderedDict[bytes, None] = OrderedDict()

    def is_to_be_moved(self, partition: int, key: bytes) -> bool:
        """Whether to publish this message again, to the partition of its key."""
        if not self._layout.is_known or self._layout.partition_of(key) == partition:
            return False
        if key in self._moved:
            return False
        self._moved[key] = None
        if len(self._moved) > REMEMBERED:
            self._moved.popitem(last=False)
        return True
