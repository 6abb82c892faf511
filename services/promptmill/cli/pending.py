"""The pending prompts of a run, each with the topic on which it waits, or marked as lost.

A prompt moves from topic to topic, and each stage commits a message only after its output has been
acknowledged. The topics are therefore read in the order of the pipeline, each from its group's
committed offsets, and the tables last: a prompt that moves in the meantime is found further on. A
prompt that is replayed in the meantime returns to the first topic, whose end is read once more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import pyarrow.dataset as ds

from promptmill.cli.settings import CommandSettings
from promptmill.kafka.log_reader import LogReader
from promptmill.lake.counts import RunCounter
from promptmill.lake.ports import TableName
from promptmill.lake.reader import DeltaReader
from promptmill.lake.tables import TABLES
from promptmill.lake.tables.optional import fields_of, turns_of
from promptmill.runtime.errors import Unavailable
from promptmill.stream.dead_letters import prompt_of
from promptmill.stream.ports import Delivery
from promptmill_schemas import Message, Prompt, Topic
from promptmill_schemas.base import parse_json, validate
from promptmill_schemas.topics import COMPLETIONS, PROMPTS, SCORED

LOST: Final = "lost"
GROUPS: Final = {"instruct": PROMPTS, "reward": COMPLETIONS, "filter": SCORED}
ROWS_AT_ONCE: Final = 10_000
"""Maximum number of ids in one look-up, because a longer list makes the condition slow."""

PATIENCE_S: Final = 20.0
PAUSE_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class PendingPrompt:
    """A prompt without an outcome.

    Attributes:
        prompt_id: the prompt's id.
        place: the topic on which the prompt waits, or :data:`LOST`.
        partition, offset: where the prompt was published on the topic ``prompts``.
        replays: the number of its latest replay that is known.
        prompt: the prompt itself; ``None`` if its text is not known.
        row: its row in the table ``prompts``, if it has one.
    """

    prompt_id: str
    place: str
    partition: int
    offset: int
    replays: int
    prompt: Prompt | None = None
    row: Mapping[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``pending --json`` prints."""
        return {
            "prompt_id": self.prompt_id,
            "place": self.place,
            "partition": self.partition,
            "offset": self.offset,
            "replays": self.replays,
            "text": self.prompt is not None,
        }


class PendingReader:
    """Finds the pending prompts of one run.

    Args:
        settings: the prefix of topics and groups.
        tables: reader of the store's tables.
        reader: reader of the topics, started.
        run: name of the run.
    """

    def __init__(
        self, settings: CommandSettings, tables: DeltaReader, reader: LogReader, run: str
    ) -> None:
        self._settings = settings
        self._tables = tables
        self._reader = reader
        self._run = run
        self._counter = RunCounter(tables, run)
        self._found: dict[str, PendingPrompt] = {}
        self._known_to: dict[int, int] = {}

    async def read(self) -> list[PendingPrompt]:
        """Find all pending prompts, in the order of partition and offset.

        Raises:
            Unavailable: Kafka or the store does not answer.
        """
        self._found = {}
        missing = await asyncio.to_thread(self._counter.missing)
        await asyncio.to_thread(self._read_rows, missing)
        await self._read_new_prompts()
        ends = await self._ends(PROMPTS)
        for stage, topic in GROUPS.items():
            await self._look_on(topic, await self._committed(stage, topic))
        for name, spec in TABLES.items():
            await self._look_on(spec.topic, await asyncio.to_thread(self._next_offsets, name))
        still = set(await asyncio.to_thread(self._counter.missing))
        await self._look_on(PROMPTS, ends)
        unsettled = (each for each in self._found.values() if self._is_unsettled(each, still))
        return sorted(unsettled, key=lambda each: (each.partition, each.offset))

    def _is_unsettled(self, pending: PendingPrompt, missing: Collection[str]) -> bool:
        """Return whether a prompt has no outcome; the tables do not know the newest prompts yet."""
        return pending.prompt_id in missing or pending.offset >= self._known_to.get(
            pending.partition, 0
        )

    # Published prompts

    def _read_rows(self, missing: Collection[str]) -> None:
        self._known_to = self._next_offsets(TableName.PROMPTS)
        replays = self._letter_replays(missing)
        for row in self._rows(TableName.PROMPTS, missing):
            identity = row["prompt_id"]
            lives = max(row["replays"] or 0, replays.get(identity, -1) + 1)
            self._found[identity] = PendingPrompt(
                identity, LOST, row["shard"], row["shard_offset"], lives, rebuilt(row), row
            )

    def _letter_replays(self, missing: Collection[str]) -> dict[str, int]:
        """Return the highest number of replays among the replayed dead letters of each prompt."""
        found: dict[str, int] = {}
        for row in self._rows(TableName.DEAD_LETTERS, missing):
            identity = row["prompt_id"]
            found[identity] = max(found.get(identity, 0), row["replays"])
        return found

    def _rows(self, name: TableName, ids: Collection[str]) -> list[dict[str, Any]]:
        snapshot, wanted = self._tables.snapshot(name), sorted(ids)
        if snapshot is None:
            return []
        columns = [
            column for column in TABLES[name].schema.names if column in snapshot.schema.names
        ]
        return [
            row
            for first in range(0, len(wanted), ROWS_AT_ONCE)
            for batch in snapshot.scan(
                columns, ds.field("prompt_id").isin(wanted[first : first + ROWS_AT_ONCE])
            )
            for row in batch.to_pylist()
        ]

    async def _read_new_prompts(self) -> None:
        """Read the prompts that the store has not read from the topic yet."""
        async for delivery in self._deliveries(PROMPTS, self._known_to):
            prompt = prompt_of(delivery.value)
            if prompt is not None and prompt.run == self._run:
                known = self._found.get(prompt.prompt_id)
                lives = max(prompt.replays, known.replays if known else 0)
                self._found[prompt.prompt_id] = PendingPrompt(
                    prompt.prompt_id,
                    LOST,
                    delivery.partition.number,
                    delivery.offset,
                    lives,
                    prompt,
                )

    # The place of each prompt

    async def _look_on(self, topic: Topic, starts: Mapping[int, int]) -> None:
        """Record the place of every prompt on this topic from these offsets onwards."""
        async for delivery in self._deliveries(topic, starts):
            identity = self._identity(topic, delivery)
            if identity in self._found and self._found[identity].place == LOST:
                self._found[identity] = replace(self._found[identity], place=topic.name)

    def _identity(self, topic: Topic, delivery: Delivery) -> str:
        """Return the id of the message's prompt: its key, unless another program set the key."""
        key = (delivery.key or b"").decode(errors="replace")
        if topic is PROMPTS and key not in self._found and (found := prompt_of(delivery.value)):
            return found.prompt_id
        return key

    async def _deliveries(self, topic: Topic, starts: Mapping[int, int]) -> AsyncIterator[Delivery]:
        name = self._settings.topic(topic)
        bounds = await self._reader.bounds(await self._reader.partitions([name]))
        within = {
            partition.number: min(max(starts.get(partition.number, first), first), end)
            for partition, (first, end) in bounds.items()
        }
        async for batch in self._reader.read(name, within):
            for delivery in batch:
                yield delivery

    async def _committed(self, stage: str, topic: Topic) -> dict[int, int]:
        """Return the group's committed offsets; retry while the group's coordinator is loading."""
        group = self._settings.group(stage)
        partitions = await self._reader.partitions([self._settings.topic(topic)])
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                committed = await self._reader.committed(group, partitions)
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(PAUSE_S)
            else:
                return {partition.number: offset for partition, offset in committed.items()}

    async def _ends(self, topic: Topic) -> dict[int, int]:
        partitions = await self._reader.partitions([self._settings.topic(topic)])
        bounds = await self._reader.bounds(partitions)
        return {partition.number: end for partition, (_, end) in bounds.items()}

    def _next_offsets(self, name: TableName) -> dict[int, int]:
        snapshot = self._tables.snapshot(name)
        return {} if snapshot is None else snapshot.next_offsets()


def rebuilt(row: Mapping[str, Any], messages: Sequence[Message] = ()) -> Prompt | None:
    """Rebuild the prompt of a row of the table ``prompts``; ``None`` if its text is not known.

    Args:
        row: the row.
        messages: the conversation, for rows of versions that did not store it.

    Raises:
        ContractError: the conversation gives another id, so it belongs to another prompt.
    """
    turns = turns_of(row) or [vars(message) for message in messages]
    if not turns:
        return None
    value = {name: row[name] for name in ("prompt_id", "run", "n", "adapter", "created_at")}
    sampling, tags = (parse_json((row[name] or "{}").encode()) for name in ("sampling", "tags"))
    value |= {"messages": turns, "sampling": sampling, "tags": tags, **fields_of(row)}
    return validate(Prompt, value)
