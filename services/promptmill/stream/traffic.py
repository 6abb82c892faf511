"""Counts the messages and bytes that one member has read and written, by topic."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable


class Amount:
    """Messages and their bytes, counted since the start.

    Attributes:
        limit: the number of records at which :attr:`Traffic.on_limit` is called.
    """

    __slots__ = ("bytes", "limit", "records")

    def __init__(self) -> None:
        self.records = 0
        self.bytes = 0
        self.limit: float = math.inf


class Traffic:
    """Counters of one loop, by topic name without the prefix.

    Attributes:
        on_limit: called with the topic after a write that reaches the limit.
    """

    def __init__(self) -> None:
        self.read: defaultdict[str, Amount] = defaultdict(Amount)
        self.written: defaultdict[str, Amount] = defaultdict(Amount)
        self.on_limit: Callable[[str], None] = lambda _topic: None

    def wrote(self, topic: str, size: int) -> None:
        """Count an acknowledged message."""
        amount = self.written[topic]
        amount.records += 1
        amount.bytes += size
        if amount.records >= amount.limit:
            self.on_limit(topic)
