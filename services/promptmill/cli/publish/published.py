"""The published prompts of a run: those in the store's table, and those not yet stored."""

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
        positions: the next offset of each partition, which is updated as messages are read.
        check: skips accepted gaps between the positions and the topic's beginning.
    """
    async for batch in reader.read(topic, positions, check):
        for delivery in batch:
            prompt = prompt_of(delivery.value)
            if prompt is not None and prompt.run == run:
                yield prompt, delivery
            positions[delivery.partition.number] = delivery.offset + 1


class _Coming:
    """A reader of a run's prompts on the topic; each reading continues where the last one ended.

    Args:
        topic: the full name of the topic of prompts.
        check: skips accepted gaps between the table's end and the topic's beginning.
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
        """Yield the ids of the run's new prompts on the topic, with their messages."""
        async for prompt, delivery in prompts_on_topic(
            self._reader, self._topic, self._run, self._positions, self._check
        ):
            yield prompt.prompt_id, delivery


class PublishedPrompts(_Coming):
    """The prompts of a run that are published, by this process or before it started.

    The prompts that were acknowledged before :meth:`start` are known exactly. The topic is read
    once from the position of the table at that time; older prompts are looked up in the table by
    id.
    """

    _stored: StoredIds | None = None

    async def start(self) -> None:
        """Read the prompts that the table lacks; called once, before any other method."""
        self._ids = IdSet()
        # The table is read after its end is known, so no prompt between it and the topic is missed.
        self._positions = await asyncio.to_thread(self._counts.next_prompt_offsets)
        if not await asyncio.to_thread(self._counts.has_none, self._run):
            self._stored = StoredIds(partial(self._counts.prompt_ids, self._run))
        async for prompt_id, _ in self._read_on():
            self._ids.add(prompt_id)

    async def look_up(self, ids: Sequence[str]) -> None:
        """Find out which of these ids the table holds; called before any of them is added."""
        if self._stored is not None:
            self._ids.update(await self._stored.among(ids))

    @property
    def is_empty(self) -> bool:
        """Whether it is certain that no prompt of the run is published, by any process."""
        return self._stored is None and not len(self._ids)

    def __contains__(self, identity: str) -> bool:
        """Return whether a prompt, which must have been looked up or added, is published."""
        return identity in self._ids

    def add(self, prompt_id: str) -> bool:
        """Add a prompt that is about to be published; return ``False`` if it is already."""
        return self._ids.add(prompt_id)

    def discard(self, prompt_id: str) -> None:
        """Remove a prompt that was added but not published."""
        self._ids.discard(prompt_id)


class PublishedCount(_Coming):
    """Counts the published prompts of a run: those in the store's table, and those not yet stored.

    A prompt that was published twice is counted twice until the store has read its second message.
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
        """The partition and offset of each prompt that the table may lack, by id."""

    @property
    def coming(self) -> Collection[str]:
        """The ids of prompts that the table may lack, as of the last refresh."""
        return self._coming.keys()

    async def refresh(self) -> int:
        """Count all prompts that were acknowledged before this call."""
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
        """Forget prompts in partitions beyond the layout if the table holds their ids.

        Another program's producer has sent them there. No row is stored for such a message, because
        workers move it to its own partition.
        """
        strays = {p for p, (number, _) in self._coming.items() if 0 < partitions <= number}
        if strays:
            stored = await asyncio.to_thread(self._counts.stored, self._run, strays)
            self._coming = {p: at for p, at in self._coming.items() if p not in stored}
