"""A rebuild of the claims in Redis, seen from one dedup store.

The server is the bottleneck, so one filter loads while the others wait. The loader reports that it
makes progress. A loader that reports nothing, or reads nothing, is replaced by another dedup store,
which fills new buckets.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import Final, TypeVar

import numpy as np

from promptmill.dedup.bulk import SeenKeys, plan, words_of
from promptmill.dedup.layout import KeyLayout
from promptmill.dedup.ports import Claimed, Decisions, Digests
from promptmill.dedup.session import LuaScript, Session
from promptmill.dedup.state import AGAIN, DedupState, Task, flag, lost

BEAT: Final = LuaScript("beat.lua")
FINISH: Final = LuaScript("finish.lua")

UNLINKED: Final = 1_000
"""The number of buckets to unlink in one call; some of them may not exist."""

Item = TypeVar("Item")

_MISSING, _AT_WORK, _OVERTAKEN = range(3)


class Loader:
    """Carries out the task for which a dedup store is registered.

    Args:
        stall_s: after this time without progress, the loader stops reporting.
    """

    def __init__(self, state: DedupState, session: Session, task: Task, stall_s: float) -> None:
        self._state = state
        self._session = session
        self._task = task
        self._stall_s = stall_s
        self._seen = SeenKeys.for_records(task.layout.capacity)
        self._progress = time.monotonic()
        self._is_at_work = True

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Report while there is progress, and unlink buckets that are no longer used."""
        beating = asyncio.create_task(self._beat_always(), name="beat-loader")
        try:
            await self._unlink_old()
            yield
            await self._unlink_old()
        finally:
            self._is_at_work = False  # redis-py's wait_for can swallow a cancellation in 3.11
            beating.cancel()
            # An error of a beat also happens to the loader's next command.
            await asyncio.gather(beating, return_exceptions=True)

    async def load(self, published: Sequence[Claimed] | Decisions) -> bool:
        """Load a block; return whether another filter has completed the claims in the meantime.

        Raises:
            StateLost: the claims were lost again.
        """
        complete = await self._load(published)
        self._progress = time.monotonic()
        return complete

    async def finish(self) -> None:
        """Declare the claims complete."""
        standing = await self._state.look(self._session)
        identity = self._session.identity
        if not (standing.kept and identity.keeps(self._task.begun, observed=True)):
            raise lost(AGAIN)
        args = (secrets.token_hex(8).encode(), self._task.layout.generation.encode())
        keys, field = [self._state.key], self._task.field
        if not await self._session.run(FINISH, keys, field, *args, flag(self._task.is_new)):
            raise lost(AGAIN)

    async def _load(self, published: Sequence[Claimed] | Decisions) -> bool:
        if not isinstance(published, Decisions):
            self._note(published)
            return await self._add(published)
        if not self._task.is_new or (self._state.sketches and published.records is not None):
            return await self._add_all(published)
        return await self._load_block(published)

    async def _load_block(self, block: Decisions) -> bool:
        await self._state.name_policies(self._session, set(block.policies))
        bulk = await asyncio.to_thread(plan, self._task.layout, block, self._seen)
        for chunk in bulk.chunks:
            if not await self._may_go_on():
                return True
            await self._session.send(chunk.commands, chunk.replies)
        singles = block.rows(bulk.single)
        return await self._add_all(singles) or not await self._may_go_on()

    async def _add_all(self, published: Iterable[Claimed]) -> bool:
        for batch in _batched(published, self._state.batch):
            if await self._add(batch):
                return True
        return False

    async def _add(self, batch: Sequence[Claimed]) -> bool:
        return await self._state.add(self._session, self._task.layout, batch, self._task.field)

    def _note(self, published: Sequence[Claimed]) -> None:
        """Remember decisions that later blocks may contradict."""
        contents = [record.content for each in published for record in each.records]
        self._seen.prompts.add(words_of(_digests([each.prompt_id for each in published])))
        self._seen.contents.add(words_of(_digests(contents)))

    async def _may_go_on(self) -> bool:
        """Return whether no other filter has completed the claims.

        Raises:
            StateLost: the claims were lost again.
        """
        found = await self._session.run(BEAT, [self._state.key], self._task.field)
        if found == _MISSING:
            raise lost(AGAIN)
        return bool(found == _AT_WORK)

    async def _beat_always(self) -> None:
        pause_s = self._state.loader_timeout_s / 5
        while self._is_at_work and time.monotonic() - self._progress < self._stall_s:
            await asyncio.sleep(pause_s)
            if not await self._may_go_on():
                return

    async def _unlink_old(self) -> None:
        """Unlink buckets of earlier layouts and of dead loaders."""
        fields = await self._session.call("HGETALL", self._state.key)
        old = [field for field in fields[::2] if field.startswith(b"old:")]
        found = dict(zip(fields[::2], fields[1::2], strict=True))
        for field in old:
            generation = field.removeprefix(b"old:").decode()
            layout = KeyLayout(self._task.layout.namespace, int(found[field]), generation)
            for keys in _batched(layout.all_keys(sketches=b"unsketched" in found), UNLINKED):
                await self._session.call("UNLINK", *keys)
                self._progress = time.monotonic()
            await self._session.call("HDEL", self._state.key, field)


def _digests(digests: Sequence[str]) -> Digests:
    return np.frombuffer(bytes.fromhex("".join(digests)), np.uint8).reshape(-1, 16)


def _batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
