"""The port of the flight log, which shows the records that were in flight when a worker died."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from promptmill.stream.ports import Partition


class Deaths(NamedTuple):
    """How often workers have died while a record was in flight.

    Attributes:
        total: deaths of workers that had this record in flight.
        alone: how many consecutive deaths, up to the last one, had no other record in flight.
    """

    total: int = 0
    alone: int = 0


NO_DEATHS = Deaths()


class FlightLog(Protocol):
    """Keeps the in-flight records of a group's workers, so that they survive a crash.

    An entry that its worker did not remove, and that another worker finds, counts as a death. The
    log never delays or stops a worker: entries that cannot be read or written are ignored.
    """

    async def read(
        self, positions: Mapping[Partition, int]
    ) -> Mapping[Partition, Mapping[int, Deaths]]:
        """The deaths by partition and offset, for records that have any.

        Entries below the given committed positions are removed, because their records are done.
        """

    async def begin(self, partition: Partition, offset: int, *, alone: bool) -> Deaths:
        """Note that the record is in flight here, and return the deaths that are known for it.

        Args:
            alone: no other record is in flight in this process until this one has ended.
        """

    def resume(self, partition: Partition, offset: int) -> None:
        """Note that a record that had ended is in flight again. This does not wait."""

    def end(self, partition: Partition, offset: int) -> None:
        """Note that the record is no longer in flight. This does not wait.

        Its deaths are kept until :meth:`read` finds the record committed. If another engine killer
        ends the worker before the commit, this record is delivered again.
        """

    async def flush(self) -> None:
        """Return when all notes are written or have failed."""

    async def stop(self) -> None:
        """Flush and disconnect."""


class NoFlightLog:
    """A flight log that keeps nothing, for stages without an engine or without Redis."""

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
