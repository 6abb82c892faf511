"""The choice of a partition by a data set's layout, in the form that the producer asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from promptmill.core.stream.layout import Layout

Partitioner: TypeAlias = Callable[[bytes, Sequence[int], Sequence[int]], int]


def by_layout(layout: Layout) -> Partitioner:
    """A partitioner that spreads keys over the layout's partitions.

    A topic with fewer partitions than the layout has them at its end left out; it is refused
    at the start of a worker, so this is one that changed afterwards.
    """

    def choose(key: bytes, every: Sequence[int], _available: Sequence[int]) -> int:
        return every[layout.partition_of(key) % len(every)]

    return choose
