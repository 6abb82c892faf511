"""Many published decisions as columns: what a rebuild loads in bulk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from promptmill.core.gates.base import Claimed, RecordKey

Digests: TypeAlias = NDArray[np.uint8]
"""One digest of 16 bytes in each row."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """Published decisions without sketches, one row for each record or reject.

    Attributes:
        policies: the versions; ``policy`` holds an index into them for each row.
        records: the accepted record and its content; none: all rows are rejects.
    """

    prompts: Digests
    decisions: Digests
    policies: tuple[str, ...]
    policy: NDArray[np.intp]
    replays: NDArray[np.int64]
    records: tuple[Digests, Digests] | None = None

    def __len__(self) -> int:
        return len(self.prompts)

    def rows(self, at: NDArray[np.intp]) -> Iterator[Claimed]:
        """These rows, one by one."""
        for number in at:
            yield Claimed(
                self.prompts[number].tobytes().hex(),
                self.decisions[number].tobytes().hex(),
                self.policies[self.policy[number]],
                self._record(number),
                int(self.replays[number]),
            )

    def __iter__(self) -> Iterator[Claimed]:
        return self.rows(np.arange(len(self), dtype=np.intp))

    def slice(self, start: int, stop: int) -> Self:
        """Rows ``start`` to ``stop``."""
        span = slice(start, stop)
        records = self.records and (self.records[0][span], self.records[1][span])
        return type(self)(
            self.prompts[span],
            self.decisions[span],
            self.policies,
            self.policy[span],
            self.replays[span],
            records or None,
        )

    def _record(self, number: np.intp) -> tuple[RecordKey, ...]:
        if self.records is None:
            return ()
        record_ids, contents = self.records
        return (RecordKey(record_ids[number].tobytes().hex(), contents[number].tobytes().hex()),)
