"""Records that are gone from a log before a stage has read them, and what was accepted of that.

Retention or ``kafka-delete-records`` move the beginning of a log. When it passes the offset that
comes next for a stage, the records in between are lost to it. That is never passed over in
silence: the worker ends, and goes on only beyond offsets that somebody has accepted as lost
(``promptmill gaps accept``).
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
"""An error names so many gaps; ``promptmill gaps`` lists all."""

READ_LIMIT_S = 30.0
"""A store that cannot be read in this time says nothing; nothing counts as accepted then."""


class Gap(NamedTuple):
    """Offsets of one partition that a stage has not read and never can.

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
    """A log begins beyond what a stage was to read next; the process ends with exit code 78."""

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
    """For a worker without a store."""
    return ()


def pass_over(expected: int, begin: int, accepted: Collection[Gap]) -> int:
    """The first offset, from ``expected`` to ``begin``, that no accepted gap covers."""
    reached = expected
    for gap in sorted(accepted, key=lambda gap: gap.first):
        if gap.first <= reached <= gap.last:
            reached = gap.last + 1
    return min(reached, begin)


class LogCheck:
    """Compares what a stage expects next with what the logs still hold.

    Args:
        stage: named in errors; acceptances are kept by stage.
        accepted: asked only when something is lost, because it loads the store's library.
    """

    def __init__(self, stage: str, accepted: ReadAccepted = nothing_accepted) -> None:
        self._stage = stage
        self.accepted = accepted

    async def resume(
        self,
        expected: Mapping[Partition, int],
        bounds: Mapping[Partition, tuple[int, int]],
    ) -> dict[Partition, int]:
        """Where each partition goes on: at its expected offset, or beyond an accepted gap.

        Raises:
            LostRecords: a log begins beyond the expected offset, and that was not accepted.
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
