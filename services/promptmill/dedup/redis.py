"""The claims in Redis or Valkey, in the layout of ``layout.py``."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from contextlib import aclosing
from typing import Final, TypeVar

from promptmill.dedup.coalesce import Coalescer
from promptmill.dedup.near import SketchForm
from promptmill.dedup.packing import Reply, pack_claims, unpack
from promptmill.dedup.ports import (
    Claim,
    Claimed,
    Decision,
    Decisions,
    Rebuilt,
    StateLost,
    Variant,
    Verdict,
    claimed_of,
)
from promptmill.dedup.rebuild import Loader
from promptmill.dedup.session import LuaScript, Session
from promptmill.dedup.state import BATCH, Complete, DedupState, evicting, flag, lost
from promptmill.runtime.errors import Misconfigured, Unavailable

CLAIM: Final = LuaScript("records.lua", "claim.lua")

Item = TypeVar("Item")

RECENT: Final = 16_384
"""The number of verdicts to remember: more than a filter can have in flight to the broker."""


class RedisDedupStore:
    """The claims of one namespace. Nothing is decided while they are incomplete.

    Args:
        url: ``redis://[user:password@]host:port/db``, ``rediss://`` or ``unix://``.
        namespace: the name of the data set; each store has its own, so claims never outlive it.
        expected_records: the approximate number of records; the layout suits at least this many
            and becomes wider when there are many more.
        sketches: the form of sketches by which nearly equal contents are found; without one, they
            are not. Every record that is loaded or accepted must then have a sketch, and claims
            without one, or of another form, count as incomplete.
        timeout_s: the longest time for one answer of the server.
        settle_s: the time that a rebuild waits before it reads what was published, so that
            decisions of other filters reach the broker.
        loader_timeout_s: another loader that has not reported for this long is considered dead.
        stall_s: a loader that has read nothing for this long lets others take over.
    """

    def __init__(
        self,
        url: str,
        namespace: str,
        *,
        expected_records: int = 10_000_000,
        sketches: SketchForm | None = None,
        timeout_s: float = 2.0,
        settle_s: float = 2.0,
        loader_timeout_s: float = 5.0,
        stall_s: float = 60.0,
    ) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._settle_s = settle_s
        self._stall_s = stall_s
        self._state = DedupState(
            namespace,
            expected_records,
            sketches=sketches,
            loader_timeout_s=loader_timeout_s,
        )
        self._session: Session | None = None
        self._connecting = asyncio.Lock()
        self._rebuilding = asyncio.Lock()
        self._complete: Complete | None = None
        self._started = False
        self._recent: deque[Claimed] = deque(maxlen=RECENT)
        self._queue: Coalescer[Claim, Decision] = Coalescer(self._decide, self._state.batch)

    @property
    def conflicts(self) -> int:
        """The number of decisions and contents that were found twice when they were loaded."""
        return self._state.conflicts

    @property
    def per_bucket(self) -> float:
        """The average number of decisions in a bucket at the last check."""
        return self._state.per_bucket

    async def start(self) -> None:
        """Connect; see :class:`~promptmill.dedup.ports.DedupStore` for this and what follows."""
        session = await self._connected()
        if session.identity.evicts and not self._started:
            await session.close()
            raise Misconfigured(str(evicting(session.identity.policy)))
        self._started = True

    async def stop(self) -> None:
        """Disconnect; claims in flight are cancelled."""
        await self._queue.stop()
        if self._session is not None:
            await self._session.close()

    async def is_complete(self) -> bool:
        """Return whether the claims have every published decision."""
        try:
            await self._find(await self._connected())
        except StateLost:
            return False
        return True

    async def check(self) -> None:
        """Check that the claims are still complete."""
        session = await self._connected()
        try:
            found = await self._state.find(session)
        except Unavailable:
            self._complete = None
            raise
        if found != self._complete:
            await self._find(session)
        await self._state.measure(session, found)

    async def claim(self, claim: Claim) -> Decision:
        """Decide, atomically among all filters."""
        claim.require(sketches=self._state.sketches)
        return await self._queue.submit(claim)

    async def rebuild(
        self, published: AsyncIterable[Claimed | Decisions], expected: int = 0
    ) -> Rebuilt:
        """Load all published decisions and declare the claims complete."""
        async with self._rebuilding:
            session, before = await self._connected(), self.conflicts
            task = await self._state.begin(session, expected, list(self._recent))
            if task is None:
                await self._find(session)
                return Rebuilt(claims=0, conflicts=self.conflicts - before)
            loader = Loader(self._state, session, task, self._stall_s)
            async with loader.at_work():
                claims = await self._load(loader, published)
                await self._find(session)
            return Rebuilt(claims, self.conflicts - before)

    async def _load(self, loader: Loader, published: AsyncIterable[Claimed | Decisions]) -> int:
        claims = 0
        await loader.load(list(self._recent))
        await asyncio.sleep(self._settle_s)
        async with aclosing(_ahead(_batches(published))) as batches:
            async for batch in batches:
                claims += len(batch)
                if await loader.load(batch):
                    return claims  # another filter was faster
        await loader.finish()
        return claims

    async def _find(self, session: Session) -> Complete:
        """Find the complete claims, and add this dedup store's recent claims to them."""
        self._complete = None
        found = await self._state.find(session)
        await self._state.add(session, found.layout, list(self._recent))
        self._complete = found
        return found

    async def _decide(self, claims: Sequence[Claim]) -> list[Decision]:
        try:
            return await self._decide_once(claims)
        except StateLost:
            raise
        except Unavailable:  # the server closes idle connections, so try again with a new one
            return await self._decide_once(claims)

    async def _decide_once(self, claims: Sequence[Claim]) -> list[Decision]:
        session = await self._connected()
        found = self._complete
        if found is None:
            found = await self._find(session)
        replies = await self._ask(session, found, claims)
        if not replies:  # lost, unless another filter has rebuilt the claims in the meantime
            replies = await self._ask(session, await self._find(session), claims)
        if not replies:
            raise lost("are not there")
        return [
            await self._decision(session, claim, unpack(reply))
            for claim, reply in zip(claims, replies, strict=True)
        ]

    async def _ask(self, session: Session, found: Complete, claims: Sequence[Claim]) -> list[bytes]:
        await self._state.name_policies(session, {claim.policy for claim in claims})
        packed = pack_claims(found.layout, claims)
        keys = [self._state.key, *packed.keys]
        bits = str(found.layout.bits).encode()
        replies: list[bytes] = await session.run(
            CLAIM, keys, found.epoch, flag(self._state.sketches), bits, packed.data
        )
        return replies

    async def _decision(self, session: Session, claim: Claim, reply: Reply | None) -> Decision:
        if reply is None:
            return Variant()
        verdict = Verdict(
            accepted=reply.accepted,
            policy=await self._state.policy(session, reply.policy),
            owners={claim.options[at].record_id: owner for at, owner in reply.owners.items()},
            replayed=reply.replayed,
        )
        if made := claimed_of(claim, verdict):
            self._recent.append(made)
        return verdict

    async def _connected(self) -> Session:
        async with self._connecting:
            if self._session is None or not self._session.is_open:
                self._complete = None
                self._session = await Session.open(self._url, self._timeout_s)
            return self._session


async def _batches(
    published: AsyncIterable[Claimed | Decisions],
) -> AsyncGenerator[list[Claimed] | Decisions, None]:
    batch: list[Claimed] = []
    async for item in published:
        if isinstance(item, Decisions):
            yield item
            continue
        batch.append(item)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


async def _ahead(items: AsyncGenerator[Item, None]) -> AsyncGenerator[Item, None]:
    """Yield the same items, and read each item while the previous one is processed."""

    async def advance() -> Item | None:
        return await anext(items, None)

    coming = asyncio.create_task(advance())
    try:
        while (item := await coming) is not None:
            coming = asyncio.create_task(advance())
            yield item
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
        await items.aclose()
