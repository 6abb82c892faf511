"""Which prompts of a run are published: those in the store's table, and those on the way to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from functools import partial

from promptmill.cli.counts import StoredCounts
from promptmill.cli.publish.id_set import IdSet
from promptmill.cli.publish.stored_ids import StoredIds
from promptmill.kafka.log_reader import LogReader
from promptmill.stream.dead_letters import prompt_of
from promptmill.stream.lost_records import LogCheck
from promptmill.stream.ports import Delivery
from promptmill_schemas import Prompt


async def prompts_on_topic(
    reader: LogReader,
    topic: str,
    run: str,
    positions: dict[int, int],
    check: LogCheck | None = None,
) -> AsyncIterator[tuple[Prompt, Delivery]]:
    """Yield the run's prompts from these positions to the end of the topic, with their messages.

    Args:
        positions: by partition; they move with what is read.
        check: passes over accepted gaps between the positions and the topic's beginning.
    """
    async for batch in reader.read(topic, positions, check):
        for delivery in batch:
            prompt = prompt_of(delivery.value)
            if prompt is not None and prompt.run == run:
                yield prompt, delivery
            positions[delivery.partition.number] = delivery.offset + 1


class _Coming:
    """Reads a run's prompts on the topic, each time from where it stopped.

    Args:
        topic: full name of the topic of prompts.
        check: passes over accepted gaps between the table's end and the topic's beginning.
    """

    def __init__(
        self,
        counts: StoredCounts,
        reader: LogReader,
        topic: str,
        run: str,
        check: LogCheck | None = None,
    ) -> None:
        self._counts = counts
        self._reader = reader
        self._topic = topic
        self._check = check
        self._run = run
        self._positions: dict[int, int] = {}

    async def _read_on(self) -> AsyncIterator[tuple[str, Delivery]]:
        """The ids of the run's prompts, with their messages."""
        async for prompt, delivery in prompts_on_topic(
            self._reader, self._topic, self._run, self._positions, self._check
        ):
            yield prompt.prompt_id, delivery


class PublishedPrompts(_Coming):
    """The prompts of a run that are published: those that were before, and those of this process.

    What was acknowledged before :meth:`start` is known exactly. From where the table ended by then,
    the topic is read once; what the table holds is looked up for the ids that are asked for.
    """

    _stored: StoredIds | None = None

    async def start(self) -> None:
        """Learn what is on its way to the table; once, before anything else."""
        self._ids = IdSet()
        # The table is looked at after its end is known, so nothing falls between it and the topic.
        self._positions = await asyncio.to_thread(self._counts.next_prompt_offsets)
        if not await asyncio.to_thread(self._counts.has_none, self._run):
            self._stored = StoredIds(partial(self._counts.prompt_ids, self._run))
        async for prompt_id, _ in self._read_on():
            self._ids.add(prompt_id)

    async def look_up(self, ids: Sequence[str]) -> None:
        """Learn which of these ids the table holds; before any of them is added."""
        if self._stored is not None:
            self._ids.update(await self._stored.among(ids))

    @property
    def is_empty(self) -> bool:
        """Whether certainly nothing of the run is published, by this process or before."""
        return self._stored is None and not len(self._ids)

    def __contains__(self, identity: str) -> bool:
        """Whether a prompt that was looked up or added is published."""
        return identity in self._ids

    def add(self, prompt_id: str) -> bool:
        """This prompt is about to be published; ``False`` when it was before."""
        return self._ids.add(prompt_id)

    def discard(self, prompt_id: str) -> None:
        """This prompt is not published after all."""
        self._ids.discard(prompt_id)


class PublishedCount(_Coming):
    """How many prompts of a run are published: those in the store's table, and those on the way.

    A prompt that was published again counts twice until the store has read its second message.
    """

    def __init__(
        self,
        counts: StoredCounts,
        reader: LogReader,
        topic: str,
        run: str,
        check: LogCheck | None = None,
    ) -> None:
        super().__init__(counts, reader, topic, run, check)
        self._coming: dict[str, tuple[int, int]] = {}
        """By id, partition and offset of prompts that the table may lack."""

    @property
    def coming(self) -> Collection[str]:
        """The ids of prompts that the table may lack, as of the last refresh."""
        return self._coming.keys()

    async def refresh(self) -> int:
        """Everything that was acknowledged before this call."""
        table = await asyncio.to_thread(self._counts.published, self._run)
        for partition, offset in table.next_offsets.items():
            self._positions[partition] = max(offset, self._positions.get(partition, 0))
        async for prompt_id, delivery in self._read_on():
            self._coming[prompt_id] = delivery.partition.number, delivery.offset
        await self._forget_stored_strays(table.partitions)
        table = await asyncio.to_thread(self._counts.published, self._run)
        begins = table.next_offsets
        self._coming = {p: at for p, at in self._coming.items() if at[1] >= begins.get(at[0], 0)}
        return table.prompts + len(self._coming)

    async def _forget_stored_strays(self, partitions: int) -> None:
        """Of prompts in partitions beyond the layout, no row is stored: look for them by id.

        Somebody else's producer has put them there; they are moved to where they belong.
        """
        strays = {p for p, (number, _) in self._coming.items() if 0 < partitions <= number}
        if strays:
            stored = await asyncio.to_thread(self._counts.stored, self._run, strays)
            self._coming = {p: at for p, at in self._coming.items() if p not in stored}
