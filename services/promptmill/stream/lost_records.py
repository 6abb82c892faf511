"""Detects records that were deleted from a log before a stage had read them.

Retention or ``kafka-delete-records`` move the beginning of a log. If it passes the next offset of
a stage, the records in between are lost. A worker never skips them silently: it stops, and it
continues only after a person has accepted the loss (``promptmill gaps accept``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import NamedTuple, TypeAlias

import structlog

from promptmill.runtime.errors import Misconfigured, PromptmillError
from promptmill.stream.ports import Partition

log = structlog.get_logger(__name__)

NAMED_GAPS = 5
"""The number of gaps that an error names; ``promptmill gaps`` lists all."""

READ_LIMIT_S = 30.0
"""If the store cannot be read in this time, no gap counts as accepted."""


class Gap(NamedTuple):
    """Offsets of one partition that were deleted before a stage had read them.

    Attributes:
        partition: with the topic's full name.
        first: the first lost offset.
        last: the last lost offset.
    """

    partition: Partition
    first: int
    last: int

    @property
    def records(self) -> int:
        """How many offsets are lost."""
        return self.last - self.first + 1


class LostRecords(Misconfigured):
    """A log begins after the next offset of a stage; the process ends with exit code 78."""

    def __init__(self, stage: str, gaps: Collection[Gap]) -> None:
        self.gaps = tuple(gaps)
        named = "; ".join(
            f"{gap.partition}: offsets {gap.first} to {gap.last}" for gap in self.gaps[:NAMED_GAPS]
        )
        more = len(self.gaps) - NAMED_GAPS
        named += f"; and {more} more partitions" if more > 0 else ""
        super().__init__(
            f"{sum(gap.records for gap in self.gaps)} records of the {stage} stage are lost: "
            f"retention deleted them before they were consumed ({named}); restore the topic, or "
            "list the loss with `promptmill gaps`, accept it with `promptmill gaps accept` and "
            "start the worker again; to prevent more losses, raise retention.ms or add workers"
        )


ReadAccepted: TypeAlias = Callable[[], Awaitable[Collection[Gap]]]
"""Reads from the store which gaps of this stage have been accepted; it may raise."""


async def nothing_accepted() -> Collection[Gap]:
    """No gap is accepted, for a worker without a store."""
    return ()


def pass_over(expected: int, begin: int, accepted: Collection[Gap]) -> int:
    """The first offset, from ``expected`` to ``begin``, that no accepted gap covers."""
    reached = expected
    for gap in sorted(accepted, key=lambda gap: gap.first):
        if gap.first <= reached <= gap.last:
            reached = gap.last + 1
    return min(reached, begin)


class LogCheck:
    """Compares the next offsets of a stage with the bounds of the logs.

    Args:
        stage: the name of the stage, for errors; gaps are accepted by stage.
        accepted: called only when records are lost, because it loads the store's library.
    """

    def __init__(self, stage: str, accepted: ReadAccepted = nothing_accepted) -> None:
        self._stage = stage
        self.accepted = accepted

    async def resume(
        self,
        expected: Mapping[Partition, int],
        bounds: Mapping[Partition, tuple[int, int]],
    ) -> dict[Partition, int]:
        """The offset at which each partition continues: the expected one, or the end of a gap.

        Raises:
            LostRecords: a log begins after the expected offset, and the gap was not accepted.
        """
        resumed = dict(expected)
        gone = {p: at for p, at in expected.items() if at < bounds[p][0]}
        if not gone:
            return resumed
        accepted = await self._read_accepted()
        lost = []
        for partition, at in sorted(gone.items()):
            begin = bounds[partition][0]
            of_it = [gap for gap in accepted if gap.partition == partition]
            resumed[partition] = pass_over(at, begin, of_it)
            if resumed[partition] < begin:
                lost.append(Gap(partition, resumed[partition], begin - 1))
        if lost:
            raise LostRecords(self._stage, lost)
        log.warning("accepted_gaps_passed", gaps={str(p): resumed[p] for p in gone})
        return resumed

    async def _read_accepted(self) -> Collection[Gap]:
        try:
            async with asyncio.timeout(READ_LIMIT_S):
                return await self.accepted()
        except (PromptmillError, OSError, ImportError, TimeoutError) as error:
            log.warning("accepted_gaps_unknown", error=repr(error))
            return ()
