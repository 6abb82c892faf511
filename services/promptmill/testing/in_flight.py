"""An in-memory flight log for tests; it passes the contract suite of the one in Redis."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from promptmill.stream.in_flight import NO_DEATHS, Deaths
from promptmill.stream.ports import Partition


@dataclass(slots=True)
class _Entry:
    deaths: Deaths = NO_DEATHS
    life: object = None
    alone: bool = False

    def seen_by(self, life: object) -> Deaths:
        """Return the number of deaths, plus one if an earlier life has left its entry."""
        if self.life is None or self.life is life:
            return self.deaths
        return Deaths(self.deaths.total + 1, self.deaths.alone + 1 if self.alone else 0)


class FlightEntries:
    """The entries that all lives share."""

    def __init__(self) -> None:
        self.partitions: defaultdict[Partition, dict[int, _Entry]] = defaultdict(dict)


class MemoryFlights:
    """One life's access to the entries."""

    def __init__(self, entries: FlightEntries) -> None:
        self._partitions = entries.partitions
        self._life = object()

    async def read(
        self, positions: Mapping[Partition, int]
    ) -> Mapping[Partition, Mapping[int, Deaths]]:
        """See :class:`~promptmill.stream.in_flight.FlightLog` for this and the rest."""
        known: dict[Partition, dict[int, Deaths]] = {}
        for partition, position in positions.items():
            entries = self._partitions[partition]
            for offset in [offset for offset in entries if offset < position]:
                del entries[offset]
            seen = {offset: entry.seen_by(self._life) for offset, entry in entries.items()}
            known[partition] = {offset: deaths for offset, deaths in seen.items() if deaths.total}
        return known

    async def begin(self, partition: Partition, offset: int, *, alone: bool) -> Deaths:
        """Note that work on the record begins here."""
        return self._begin(partition, offset, alone=alone)

    def _begin(self, partition: Partition, offset: int, *, alone: bool) -> Deaths:
        deaths = self._partitions[partition].get(offset, _Entry()).seen_by(self._life)
        self._partitions[partition][offset] = _Entry(deaths, self._life, alone)
        return deaths

    def resume(self, partition: Partition, offset: int) -> None:
        """Note that work on the record continues here after all."""
        self._begin(partition, offset, alone=False)

    def end(self, partition: Partition, offset: int) -> None:
        """Note that work on the record has ended here."""
        entry = self._partitions[partition].get(offset)
        if entry is None or entry.life is not self._life:
            return
        if entry.deaths.total:
            entry.life = None
        else:
            del self._partitions[partition][offset]

    async def flush(self) -> None:
        """Do nothing, because every note is written at once."""

    async def stop(self) -> None:
        """Do nothing, because there is no connection."""
