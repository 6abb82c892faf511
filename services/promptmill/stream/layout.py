"""Which partition a key belongs to, by the layout of a data set rather than of its topics.

A data set is laid out for the number of partitions that its topics had when its tables were
created. Partitions can be added to a topic at any time, and never taken away; a producer that
hashes over the present number then sends a prompt's messages elsewhere than before. So every
producer of ours hashes over the layout's number, with the hash of Kafka's default partitioner:
while nothing has been added, keyed messages of other clients land in the same place.
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
    """The 32 bits of Kafka's hash (``org.apache.kafka.common.utils.Utils.murmur2``)."""
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
class Layout:
    """The number of partitions over which a data set spreads its keys.

    Attributes:
        partitions: the topics may have more by now.
        is_known: read from the data set; otherwise it is what the topics have now, which is
            right unless partitions were added.
    """

    partitions: int
    is_known: bool = True

    def partition_of(self, key: bytes) -> int:
        """The partition in which messages of this key belong."""
        return (murmur2(key) & POSITIVE) % self.partitions


class Placement:
    """Finds messages that stand in another partition than the layout gives.

    Each key is moved once by a process. Were two workers of a stage to know two layouts, they
    would otherwise send the same message back and forth; after one move each, one of them works
    on it where it stands, which costs nothing but the place of the prompt's row in the store.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._moved: OrderedDict[bytes, None] = OrderedDict()

    def is_to_be_moved(self, partition: int, key: bytes) -> bool:
        """Whether to publish this message again, to the partition where it belongs."""
        if not self._layout.is_known or self._layout.partition_of(key) == partition:
            return False
        if key in self._moved:
            return False
        self._moved[key] = None
        if len(self._moved) > REMEMBERED:
            self._moved.popitem(last=False)
        return True
