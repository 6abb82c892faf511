"""Draws: lines with the same content and different own ids are answered once for each id.

The first line with a content gets the id that belongs to the content alone. Each further own id is
a draw with the next number, which is part of its prompt's id (decision 0031). The draw of each own
id is known from the published prompts and from the lines of this input. The same lines therefore
get the same draws in any order and in any number of files.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Final, Protocol

from promptmill.cli.counts import CUSTOM_ID
from promptmill.cli.publish.id_set import ID_BYTES, new_database
from promptmill.cli.publish.published import prompts_on_topic
from promptmill.kafka.log_reader import LogReader
from promptmill.stream.lost_records import LogCheck
from promptmill_schemas import Prompt

NO_OWN_ID: Final = b""
"""The value that stands for the own id of a prompt without one."""

OwnIdsOfRun = Callable[[], AsyncIterator[tuple[str, str]]]
"""A function that yields the prompt id and the own id of each published prompt that has both."""


class Ids(Protocol):
    """A set of the ids of published prompts."""

    async def look_up(self, ids: Sequence[str]) -> None:
        """Find out which of these ids are published."""

    def __contains__(self, identity: str) -> bool:
        """Return whether the prompt is or will be published; its id must have been looked up."""


class StoredOwnIds(Protocol):
    """The part of the store's tables that draws need."""

    def next_prompt_offsets(self) -> dict[int, int]:
        """Return the first offset of the topic ``prompts`` that the table lacks, by partition."""

    def own_ids(self, run: str) -> Iterable[tuple[str, str]]:
        """Yield the prompt id and the own id of each of the run's prompts that has an own id."""


async def no_own_ids() -> AsyncIterator[tuple[str, str]]:
    """Yield nothing, for a run without published prompts."""
    nothing: tuple[tuple[str, str], ...] = ()
    for found in nothing:
        yield found


def published_own_ids(
    counts: StoredOwnIds,
    open_reader: Callable[[], LogReader],
    topic: str,
    run: str,
    check: LogCheck | None = None,
) -> OwnIdsOfRun:
    """Return a function that reads the own ids from the table and the rest of the topic."""

    async def read() -> AsyncIterator[tuple[str, str]]:
        positions = await asyncio.to_thread(counts.next_prompt_offsets)
        for found in await asyncio.to_thread(counts.own_ids, run):
            yield found
        async with open_reader() as reader:
            async for prompt, _ in prompts_on_topic(reader, topic, run, positions, check):
                if CUSTOM_ID in prompt.tags:
                    yield prompt.prompt_id, prompt.tags[CUSTOM_ID]

    return read


class Draws:
    """The draws of the own ids of each content.

    Args:
        known: the ids of published prompts; those of this input are added to it. The ids that
            belong to the lines' contents must have been looked up.
        published: called when a line with an own id has the content of a known prompt for the
            first time.
    """

    def __init__(self, known: Ids, published: OwnIdsOfRun = no_own_ids) -> None:
        self._known = known
        self._published = published
        self._is_read = False
        self._owners = new_database("owners_of (id BLOB PRIMARY KEY, own BLOB)")
        self._draws = new_database(
            "draws (content BLOB, own BLOB, draw INTEGER, PRIMARY KEY (content, own))"
        )

    async def place(self, prompt: Prompt, own: str) -> Prompt:
        """Return the prompt as the draw of this own id; unchanged if it already has a draw."""
        if prompt.draw is not None:
            return prompt
        content, owner = bytes.fromhex(prompt.prompt_id), _digest(own)
        found = self._draw_of(content, owner)
        if found is None:
            found = await self._next(prompt, content, owner)
            self._keep(content, owner, found)
        return prompt.as_draw(found)

    async def _next(self, prompt: Prompt, content: bytes, owner: bytes) -> int:
        """Return the draw under which the own id is published, or the first free one."""
        draw = self._size(content)
        while await self._is_known(candidate := prompt.as_draw(draw).prompt_id, draw):
            await self._read_published()
            its_owner = self._owner_of(candidate)
            if its_owner == owner:
                break
            self._keep(content, its_owner or draw.to_bytes(8, "big"), draw)
            draw += 1
        return draw

    async def _is_known(self, candidate: str, draw: int) -> bool:
        if draw > 0:
            await self._known.look_up([candidate])
        return candidate in self._known

    def _draw_of(self, content: bytes, owner: bytes) -> int | None:
        query = "SELECT draw FROM draws WHERE content = ? AND own = ?"
        row = self._draws.execute(query, (content, owner)).fetchone()
        return None if row is None else int(row[0])

    def _size(self, content: bytes) -> int:
        query = "SELECT MAX(draw) FROM draws WHERE content = ?"
        (last,) = self._draws.execute(query, (content,)).fetchone()
        return 0 if last is None else int(last) + 1

    def _keep(self, content: bytes, owner: bytes, draw: int) -> None:
        row = (content, owner, draw)
        self._draws.execute("INSERT OR IGNORE INTO draws VALUES (?, ?, ?)", row)

    def _owner_of(self, prompt_id: str) -> bytes:
        query = "SELECT own FROM owners_of WHERE id = ?"
        row = self._owners.execute(query, (bytes.fromhex(prompt_id),)).fetchone()
        return NO_OWN_ID if row is None else bytes(row[0])

    async def _read_published(self) -> None:
        if self._is_read:
            return
        self._is_read = True
        async for prompt_id, own in self._published():
            row = (bytes.fromhex(prompt_id), _digest(own))
            self._owners.execute("INSERT OR IGNORE INTO owners_of VALUES (?, ?)", row)


def _digest(own: str) -> bytes:
    return blake2b(own.encode(), digest_size=ID_BYTES).digest()
