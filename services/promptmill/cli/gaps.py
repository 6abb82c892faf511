"""The command that lists lost records, by stage, and accepts their loss."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promptmill.cli.addresses import find_addresses
from promptmill.cli.output import print_bytes, print_json, quiet_logs
from promptmill.cli.settings import CommandSettings, load
from promptmill.kafka.log_reader import LogReader
from promptmill.lake.reader import DeltaReader
from promptmill.runtime.errors import Misconfigured
from promptmill.stream.lost_records import Gap, LogCheck, pass_over
from promptmill.stream.ports import Partition
from promptmill_schemas.documents import FLOW

if TYPE_CHECKING:
    from promptmill.lake.gaps import GapTable

STORE = "store"
CLIENT = "promptmill-gaps"


@dataclass(frozen=True, slots=True)
class Lost:
    """A range of records that were deleted before a stage read them.

    Attributes:
        stage: the stage that has not read them.
        gap: their partition and offsets.
        accepted: whether the loss was accepted, so that the stage skips them at its next start.
    """

    stage: str
    gap: Gap
    accepted: bool

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``gaps --json`` prints."""
        return {
            "stage": self.stage,
            "topic": self.gap.partition.topic,
            "partition": self.gap.partition.number,
            "first": self.gap.first,
            "last": self.gap.last,
            "count": self.gap.records,
            "accepted": self.accepted,
        }


def show_gaps(*, as_json: bool) -> None:
    """Print all lost records."""
    _print(_find(load()), "no records have been lost", as_json=as_json)


def accept_gaps(
    topic: str | None, partition: int | None, stage: str | None, *, as_json: bool
) -> None:
    """Accept the lost records that match, and print them.

    Args:
        topic: the topic's name, with or without the prefix; ``None`` matches every topic.
        partition: the number of the partition; ``None`` matches every partition.
        stage: the stage; ``None`` matches every stage.
        as_json: print JSON objects.

    Raises:
        Misconfigured: a topic is given, and nothing matches.
    """
    settings = load()
    names = {topic, f"{settings.topic_prefix}{topic}"}
    lost = [
        each
        for each in _find(settings)
        if not each.accepted
        and (topic is None or each.gap.partition.topic in names)
        and partition in {None, each.gap.partition.number}
        and stage in {None, each.stage}
    ]
    if not lost and topic is not None:
        raise Misconfigured(
            f"no records of topic {topic!r}, partition {partition}, are lost and not yet "
            "accepted: see `promptmill gaps`"
        )
    accept(settings.store_uri, lost)
    accepted = [Lost(each.stage, each.gap, accepted=True) for each in lost]
    _print(accepted, "there are no losses left to accept", as_json=as_json)


async def find_lost(settings: CommandSettings, reader: LogReader, store: str) -> list[Lost]:
    """Find all lost records, by stage, topic and partition.

    Args:
        settings: the prefix of topics and groups.
        reader: the reader of the topics, which must be started.
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
        accepted = await asyncio.to_thread(_table(store).read, stage)
        found += _lost(stage, positions, bounds, accepted)
    return found


def accept(store: str, lost: Collection[Lost]) -> None:
    """Record in the store that the loss of these records was accepted.

    Raises:
        Unavailable: the store cannot be written.
    """
    table = _table(store)
    for stage in sorted({each.stage for each in lost}):
        table.accept(stage, [each.gap for each in lost if each.stage == stage])


def stored_log_check(store: str) -> LogCheck:
    """Return a check for commands that read a topic from the position of a table.

    If the position is before the beginning of the log, it skips the gaps that were accepted for
    the store stage. The table of accepted gaps is read only then.

    Args:
        store: URI of the store.
    """

    async def accepted() -> Collection[Gap]:
        return await asyncio.to_thread(_table(store).read, STORE)

    return LogCheck(STORE, accepted)


def _find(settings: CommandSettings) -> list[Lost]:
    quiet_logs()
    addresses = find_addresses(settings)

    async def find() -> list[Lost]:
        async with LogReader(addresses.kafka, client_id=CLIENT) as reader:
            return await find_lost(settings, reader, addresses.store)

    return asyncio.run(find())


def _table(store: str) -> GapTable:
    from promptmill.lake.gaps import GapTable  # loads pyarrow, which `status` does not need

    return GapTable(store)


def _stored(
    settings: CommandSettings, store: str, partitions: Collection[Partition]
) -> dict[Partition, int]:
    """Return the positions of the tables; partitions without stored messages are omitted."""
    from promptmill.lake.tables import TABLES

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


def _print(lost: Sequence[Lost], otherwise: str, *, as_json: bool) -> None:
    for each in lost:
        if as_json:
            print_json(each.as_json())
        else:
            print_bytes(_line(each).encode())
    if not lost and not as_json:
        print_bytes(otherwise.encode())


def _line(lost: Lost) -> str:
    gap, state = lost.gap, "accepted" if lost.accepted else "not accepted"
    return (
        f"{lost.stage:8}  {gap.partition!s:24}  offsets {gap.first} to {gap.last}  "
        f"{gap.records:,} records  {state}"
    )
