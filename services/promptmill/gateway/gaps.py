"""Lost records: what each consumer group, and each table of the store, can no longer read."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from promptmill.core.sinks.delta.gaps import GapTable
from promptmill.core.sinks.delta.reader import DeltaReader
from promptmill.core.sinks.tables import TABLES
from promptmill.core.stream.kafka.reader import LogReader
from promptmill.core.stream.lost import Gap, LogCheck, pass_over
from promptmill.core.stream.ports import Partition
from promptmill.gateway.settings import GatewaySettings
from promptmill_schemas.documents import FLOW

STORE = "store"


@dataclass(frozen=True, slots=True)
class Lost:
    """Offsets that a stage has not read and never can.

    Attributes:
        accepted: the stage passes over them at its next start.
    """

    stage: str
    gap: Gap
    accepted: bool

    def as_json(self) -> dict[str, Any]:
        """What ``gaps --json`` prints for it."""
        return {
            "stage": self.stage,
            "topic": self.gap.partition.topic,
            "partition": self.gap.partition.number,
            "first": self.gap.first,
            "last": self.gap.last,
            "count": self.gap.records,
            "accepted": self.accepted,
        }


def stored_log_check(store: str) -> LogCheck:
    """Lets a command read a topic on from a table that stands below the log's beginning.

    It passes over what the store stage may pass over; the table of gaps is read only then.

    Args:
        store: URI of the store.
    """

    async def accepted() -> Collection[Gap]:
        return await asyncio.to_thread(GapTable(store).read, STORE)

    return LogCheck(STORE, accepted)


async def find_lost(settings: GatewaySettings, reader: LogReader, store: str) -> list[Lost]:
    """Everything that is lost now, by stage, topic and partition.

    Args:
        reader: started.
        store: URI of the store.

    Raises:
        Misconfigured: a topic does not exist.
        Unavailable: Kafka or the store does not answer.
    """
    found: list[Lost] = []
    for stage, (receives, _) in FLOW.items():
        topics = [settings.topic(topic) for topic in receives]
        if not topics:
            continue
        partitions = await reader.partitions(topics)
        if stage == STORE:
            positions = await asyncio.to_thread(_stored, settings, store, partitions)
        else:
            positions = await reader.committed(settings.group(stage), partitions)
        bounds = await reader.bounds(partitions)
        accepted = await asyncio.to_thread(GapTable(store).read, stage)
        found += _lost(stage, positions, bounds, accepted)
    return found


def _stored(
    settings: GatewaySettings, store: str, partitions: Collection[Partition]
) -> dict[Partition, int]:
    """Where the tables stand; what has no table, or nothing stored, is left out."""
    reader, positions = DeltaReader(store), dict[Partition, int]()
    for name, spec in TABLES.items():
        if (snapshot := reader.snapshot(name)) is None:
            continue
        topic = settings.topic(spec.topic)
        shards = [partition.number for partition in partitions if partition.topic == topic]
        offsets = snapshot.next_offsets(shards)
        positions |= {Partition(topic, shard): offset for shard, offset in offsets.items()}
    return positions


def _lost(
    stage: str,
    positions: Mapping[Partition, int],
    bounds: Mapping[Partition, tuple[int, int]],
    accepted: Collection[Gap],
) -> Iterator[Lost]:
    for partition, (begin, _) in sorted(bounds.items()):
        position = positions.get(partition, 0)
        of_it = [gap for gap in accepted if gap.partition == partition]
        reached = pass_over(position, begin, of_it)
        if position < reached:
            yield Lost(stage, Gap(partition, position, reached - 1), accepted=True)
        if reached < begin:
            yield Lost(stage, Gap(partition, reached, begin - 1), accepted=False)


def accept(store: str, lost: Collection[Lost]) -> None:
    """Record the acceptance of these.

    Raises:
        Unavailable: the store cannot be written.
    """
    table = GapTable(store)
    for stage in sorted({each.stage for each in lost}):
        table.accept(stage, [each.gap for each in lost if each.stage == stage])
