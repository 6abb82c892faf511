"""Whether the claims in Redis are complete, and how they become so again.

Every claim says on which epoch it relies, and the script compares: a server that was emptied has
none. An epoch counts only on the server on which it was declared, while that keeps its data: one
that was restarted, that took over as a replica or that evicted keys may lack claims.

A change that the data survives (the first replica attaches) is noted by a gate that observed the
server shortly before. Any other gate waits for it, and rebuilds only if there is none.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from promptmill.core.errors import Unavailable
from promptmill.core.gates.base import Claimed, StateLost
from promptmill.core.gates.bulk import plan
from promptmill.core.gates.decisions import Decisions
from promptmill.core.gates.layout import Layout, bits_for, policy_digest, policy_field, state_key
from promptmill.core.gates.packing import pack_claimed
from promptmill.core.gates.redis_identity import Identity
from promptmill.core.gates.redis_session import Script, Session

RENEW: Final = Script("renew.lua")
BEGIN: Final = Script("begin.lua")
LOAD: Final = Script("records.lua", "load.lua")
BULK: Final = Script("bulk.lua")
FINISH: Final = Script("finish.lua")

BATCH: Final = 128
"""Claims in one call: the server is busy with them for two milliseconds."""

SKETCHED_BATCH: Final = 16
"""The same with sketches, each of which costs as much as ten claims without."""

RETRY_S: Final = 0.5

REMEDY: Final = "set it to noeviction (CONFIG SET maxmemory-policy noeviction)"

OBSERVED_S: Final = 5.0
"""A gate that saw the server so many seconds ago knows that it was not a replica in between: it
would have to be demoted, synchronised, promoted, and to drop its backlog within that time."""

OBSERVER_WAIT_S: Final = 2.5
"""How long a gate that did not observe a change waits for one that did: two of its looks."""


_MISHAP: Final = "restarted or failed over, or evicted keys"


@dataclass(frozen=True, slots=True)
class Complete:
    """Claims that were found complete, with this epoch."""

    epoch: bytes
    layout: Layout


@dataclass(frozen=True, slots=True)
class _Standing:
    """The server's token as it is recorded beside the claims, and whether its data is kept."""

    recorded: bytes
    kept: bool


class ClaimState:
    """One gate's part in keeping the claims of a namespace complete.

    Args:
        sketches: whether they must hold a sketch of every record.
        clock: monotonic seconds.

    Attributes:
        batch: claims in one call at most.
        conflicts: decisions and contents that were found twice when they were loaded.
    """

    def __init__(
        self,
        namespace: str,
        expected_records: int,
        *,
        sketches: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.key = state_key(namespace)
        self.conflicts = 0
        self.sketches = sketches
        self.batch = SKETCHED_BATCH if sketches else BATCH
        self._namespace = namespace
        self._bits = str(bits_for(expected_records)).encode()
        self._loader = b"loader:" + secrets.token_hex(8).encode()
        self._policies: dict[bytes, str] = {}
        self._clock = clock
        self._observed: tuple[Identity, float] | None = None
        self._begun = Identity("", "", "", 0)

    async def find(self, session: Session) -> Complete:
        """The complete claims; raises ``StateLost`` if they are not.

        Raises:
            Unavailable: the server may evict claims, or is a replica.
        """
        standing = await self._look(session)
        fields = ("epoch", "server", "bits", "unsketched", "sketched")
        epoch, server, bits, unsketched, sketched = await session.call("HMGET", self.key, *fields)
        if not standing.kept:
            raise lost(f"were last complete before the server {_MISHAP}")
        if epoch is None:
            raise lost("are not there" if server is None else "are being rebuilt")
        if self.sketches and (sketched is None or sketched != unsketched):
            raise lost("hold records without a sketch")
        self._policies.clear()
        return Complete(epoch, Layout(self._namespace, int(bits)))

    async def begin(self, session: Session) -> Layout | None:
        """Where to load the claims; ``None`` if they are complete."""
        await self._await_observer(session)
        reply: list[bytes | int] = []
        while not reply:  # another filter has recorded another server since
            standing = await self._look(session)
            begun = session.identity
            reply = await session.run(
                BEGIN,
                [self.key],
                standing.recorded,
                begun.token,
                flag(standing.kept),
                self._bits,
                self._loader,
                flag(self.sketches),
            )
        self._begun = begun
        self._policies.clear()
        return None if reply[1] else Layout(self._namespace, int(reply[0]))

    async def load(self, session: Session, layout: Layout, published: Sequence[Claimed]) -> bool:
        """Whether the claims have become complete meanwhile, by another filter's work."""
        complete = False
        for start in range(0, len(published), self.batch):
            batch = published[start : start + self.batch]
            await self.name_policies(session, {each.policy for each in batch})
            packed = pack_claimed(layout, batch)
            reply = await session.run(LOAD, [self.key, *packed.keys], self._loader, packed.data)
            if not reply:
                raise lost("were lost again during the rebuild")
            self.conflicts += reply[0]
            complete = bool(reply[1])
        return complete

    async def load_any(
        self, session: Session, layout: Layout, published: Sequence[Claimed] | Decisions
    ) -> bool:
        """The same for decisions one by one or in a block."""
        if not isinstance(published, Decisions):
            return await self.load(session, layout, published)
        return await self._load_block(session, layout, published)

    async def _load_block(self, session: Session, layout: Layout, block: Decisions) -> bool:
        """Load what is alone in bulk, the rest one by one; see ``bulk.py``."""
        await self.name_policies(session, set(block.policies))
        bulk = await asyncio.to_thread(plan, layout, block)
        singles, complete = [bulk.single], False
        for call in bulk.calls:
            reply = await session.run(
                BULK,
                [self.key],
                self._loader,
                call.table,
                flag(call.table == layout.content_table),
                str(call.length).encode(),
                call.data,
            )
            if not reply:
                raise lost("were lost again during the rebuild")
            singles.append(call.rows_at(reply[1:]))
            complete = complete or reply[:1] == b"1"
        rows = np.unique(np.concatenate(singles))
        for start in range(0, len(rows), self.batch):
            await self.load(session, layout, list(block.rows(rows[start : start + self.batch])))
        return complete and not self.sketches

    async def finish(self, session: Session) -> None:
        """Declare the claims complete."""
        standing = await self._look(session)
        epoch = secrets.token_hex(8).encode()
        kept = standing.kept and session.identity.keeps(self._begun, observed=True)
        if not kept or not await session.run(FINISH, [self.key], self._loader, epoch):
            raise lost("were lost again during the rebuild")

    async def _look(self, session: Session) -> _Standing:
        """What is recorded of the server, and whether its data is still there.

        A change that the data survives is noted.

        Raises:
            Unavailable: the server may evict claims, or is a replica.
        """
        before = self._observed
        now = await self._observe(session)
        recorded = await session.call("HGET", self.key, "server")
        known = None if recorded is None else Identity.parse(recorded)
        observed = known is not None and self._observed_as(known, before)
        kept = recorded is None or (known is not None and now.keeps(known, observed=observed))
        if kept and known is not None:
            recorded = await self._note(session, known, now)
        if now.evicts:
            raise evicting(now.policy)
        return _Standing(recorded or b"", kept)

    def _observed_as(self, known: Identity, before: tuple[Identity, float] | None) -> bool:
        """Whether this gate has just seen the server as it is recorded."""
        if before is None or self._clock() - before[1] > OBSERVED_S:
            return False
        return before[0].is_same_history(known)

    async def _observe(self, session: Session) -> Identity:
        identity = await session.identify()
        if identity.is_replica:
            self._observed = None
            raise Unavailable(
                "Redis is a replica, which takes no claims; point PROMPTMILL_REDIS at the primary",
                retry_after_s=RETRY_S,
            )
        self._observed = identity, self._clock()
        return identity

    async def _note(self, session: Session, known: Identity, now: Identity) -> bytes:
        """Record the server as it is now; returns what is recorded."""
        token = now.recorded_after(known).token
        if token != known.token:
            await session.run(RENEW, [self.key], known.token, token)
        return token

    async def _await_observer(self, session: Session) -> None:
        """Give a gate that observed a change of the server the time to note it."""
        deadline = self._clock() + OBSERVER_WAIT_S
        while self._clock() < deadline:
            standing = await self._look(session)
            known = Identity.parse(standing.recorded)
            if standing.kept or known is None or not session.identity.may_continue(known):
                return
            await asyncio.sleep(OBSERVER_WAIT_S / 10)

    async def name_policies(self, session: Session, versions: set[str]) -> None:
        """Have the full versions known by which decisions will be found to be made."""
        for version in versions.difference(self._policies.values()):
            digest = policy_digest(version)
            await session.call("HSET", self.key, policy_field(digest), version)
            self._policies[digest] = version

    async def policy(self, session: Session, digest: bytes) -> str:
        """The version of the policy that made a decision."""
        if digest not in self._policies:
            version = await session.call("HGET", self.key, policy_field(digest))
            self._policies[digest] = (version or b"unknown@" + digest.hex().encode()).decode()
        return self._policies[digest]


def flag(yes: bool) -> bytes:
    """How the scripts read a truth value."""
    return b"1" if yes else b"0"


def lost(how: str) -> StateLost:
    """What a claim meets that may not be decided."""
    text = f"the claims {how}; nothing is decided until they are rebuilt from the store"
    return StateLost(text, retry_after_s=RETRY_S)


def evicting(policy: str) -> Unavailable:
    """What a claim meets while the server may evict what it is told."""
    return Unavailable(
        f"Redis has maxmemory-policy {policy}, which evicts claims when memory is full; {REMEDY}",
        retry_after_s=RETRY_S,
    )
