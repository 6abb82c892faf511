"""What a loop needs in order to know which records were at work when a worker died."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from promptmill.stream.ports import Partition


class Deaths(NamedTuple):
    """How workers have died while a record was at work.

    Attributes:
        total: deaths of a worker that had this record at work.
        alone: how many of the last of these, without a gap, had nothing else at work.
    """

    total: int = 0
    alone: int = 0


NO_DEATHS = Deaths()


class FlightLog(Protocol):
    """Remembers, beyond the end of a process, what each worker of a group has at work.

    An entry that a worker did not take back, and that another worker finds, is a death. The log
    never holds up a worker and never ends it: what cannot be read or written is not known.
    """

    async def read(
        self, positions: Mapping[Partition, int]
    ) -> Mapping[Partition, Mapping[int, Deaths]]:
        """The deaths by partition and offset, for records that have any.

        Entries below the given committed positions are removed: those records are done.
        """

    async def begin(self, partition: Partition, offset: int, *, alone: bool) -> Deaths:
        """The record is at work here from now on; counts one more death if it finds one.

        Args:
            alone: nothing else is at work in this process, and nothing will be.
        """

    def resume(self, partition: Partition, offset: int) -> None:
        """A record that had ended is at work here after all; does not wait."""

    def end(self, partition: Partition, offset: int) -> None:
        """It is no longer at work here, for a reason other than a death. Does not wait.

        Its deaths are kept until :meth:`read` finds it committed: a killer whose dead letter is
        published and not committed when the next killer ends the worker comes again.
        """

    async def flush(self) -> None:
        """Return once what was said is written, or cannot be."""

    async def stop(self) -> None:
        """Flush and disconnect."""


class NoFlights:
    """Remembers nothing: for stages without an engine, and without Redis."""

    async def read(
        self,
        positions: Mapping[Partition, int],  # noqa: ARG002 - nothing is known of any
    ) -> Mapping[Partition, Mapping[int, Deaths]]:
        """No deaths are known."""
        return {}

    async def begin(
        self,
        partition: Partition,  # noqa: ARG002
        offset: int,  # noqa: ARG002
        *,
        alone: bool,  # noqa: ARG002
    ) -> Deaths:
        """No deaths are known."""
        return NO_DEATHS

    def resume(self, partition: Partition, offset: int) -> None:
        """Nothing to note."""

    def end(self, partition: Partition, offset: int) -> None:
        """Nothing to note."""

    async def flush(self) -> None:
        """Nothing to write."""

    async def stop(self) -> None:
        """Nothing to disconnect."""
