"""The state of the claims in Redis: whether they are complete, and how a rebuild begins.

Every claim carries the epoch on which it relies, and the script compares it with the server's: a
server that was emptied has no epoch. An epoch is valid only on the server on which it was declared,
and only while that server keeps its data. A server that was restarted, that took over as a replica
or that evicted keys may lack claims.

Some changes leave the data intact, for example the first replica that attaches. A dedup store that
observed the server shortly before records such a change. Any other dedup store waits for that, and
rebuilds only if no dedup store records it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from promptmill.dedup.layout import (
    MAX_BITS,
    WIDEST,
    KeyLayout,
    bits_for,
    policy_digest,
    policy_field,
    state_key,
)
from promptmill.dedup.near import SketchForm
from promptmill.dedup.packing import pack_claimed
from promptmill.dedup.ports import Claimed, StateLost
from promptmill.dedup.server_identity import ServerIdentity
from promptmill.dedup.session import LuaScript, Session
from promptmill.runtime.errors import Unavailable

RENEW: Final = LuaScript("renew.lua")
BEGIN: Final = LuaScript("begin.lua")
LOAD: Final = LuaScript("records.lua", "load.lua")
SIZES: Final = LuaScript("sizes.lua")
OUTGROW: Final = LuaScript("outgrow.lua")

BATCH: Final = 128
"""The number of claims in one call, which keeps the server busy for about two milliseconds."""

SKETCHED_BATCH: Final = 16
"""The number of claims with a sketch in one call; each takes as long as ten without."""

RETRY_S: Final = 0.5

REMEDY: Final = "set it to noeviction (CONFIG SET maxmemory-policy noeviction)"

OBSERVED_S: Final = 5.0
"""If a dedup store saw the server within these seconds, the server was not a replica in between.

It would have had to be demoted, synchronised and promoted, and to drop its backlog in that time."""

OBSERVER_WAIT_S: Final = 2.5
"""Seconds that a dedup store waits for another one to record a change: two checks."""

AGAIN: Final = "were lost again during the rebuild, or another filter took over"
_MISHAP: Final = "restarted or failed over, or evicted keys"


@dataclass(frozen=True, slots=True)
class Complete:
    """Claims that were found complete, with this epoch."""

    epoch: bytes
    layout: KeyLayout


@dataclass(frozen=True, slots=True)
class Task:
    """The part of a rebuild for which a dedup store is registered.

    Attributes:
        layout: the buckets that it fills.
        loader: the id of this attempt; a new generation has the same id.
        begun: the identity of the server when the attempt began.
    """

    layout: KeyLayout
    loader: str
    begun: ServerIdentity

    @property
    def is_new(self) -> bool:
        """Whether the loader fills new buckets; otherwise it adds sketches to those in use."""
        return self.loader == self.layout.generation

    @property
    def field(self) -> bytes:
        """The field of the state in which the loader is registered."""
        return f"{'loader' if self.is_new else 'joiner'}:{self.loader}".encode()


@dataclass(frozen=True, slots=True)
class ServerState:
    """The recorded token of the server, and whether the server still has the data."""

    recorded: bytes
    kept: bool


class DedupState:
    """One dedup store's part in keeping the claims of a namespace complete.

    Args:
        expected_records: the layout suits at least this number of records.
        sketches: the form in which the claims must have a sketch of every record, if they must.
        loader_timeout_s: a loader that has not reported for this long is considered dead.
        clock: returns monotonic seconds.

    Attributes:
        batch: the largest number of claims in one call.
        conflicts: decisions and contents that were found twice when they were loaded.
        per_bucket: entries in a bucket, on average.
    """

    def __init__(
        self,
        namespace: str,
        expected_records: int,
        *,
        sketches: SketchForm | None,
        loader_timeout_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.key = state_key(namespace)
        self.conflicts = 0
        self.sketches = sketches is not None
        self._form = (sketches or "").encode()
        self.batch = SKETCHED_BATCH if self.sketches else BATCH
        self._namespace = namespace
        self.loader_timeout_s = loader_timeout_s
        self.per_bucket = 0.0
        self._expected = expected_records
        self.policies: dict[bytes, str] = {}
        self._clock = clock
        self._observed: tuple[ServerIdentity, float] | None = None

    async def find(self, session: Session) -> Complete:
        """Return the claims if they are complete, and raise ``StateLost`` otherwise.

        Raises:
            Unavailable: the server may evict claims, or is a replica.
        """
        standing = await self.look(session)
        fields = ("epoch", "server", "bits", "unsketched", "sketched", "generation", "form")
        found = await session.call("HMGET", self.key, *fields)
        epoch, server, bits, unsketched, sketched, generation, form = found
        if not standing.kept:
            raise lost(f"were last complete before the server {_MISHAP}")
        if epoch is None:
            raise lost("are not there" if server is None else "are being rebuilt")
        if self.sketches and (sketched is None or sketched != unsketched):
            raise lost("hold records without a sketch")
        if self.sketches and (form or b"folded") != self._form:
            raise lost(f"hold sketches of another form than {self._form.decode()}")
        self.policies.clear()
        return Complete(epoch, KeyLayout(self._namespace, int(bits), generation.decode()))

    async def add(
        self, session: Session, layout: KeyLayout, published: Sequence[Claimed], field: bytes = b""
    ) -> bool:
        """Add decisions one by one, and return whether the claims have become complete.

        Args:
            field: the loader's field; empty to add to complete claims.
        """
        complete = False
        for start in range(0, len(published), self.batch):
            batch = published[start : start + self.batch]
            await self.name_policies(session, {each.policy for each in batch})
            packed = pack_claimed(layout, batch)
            keys, generation = [self.key, *packed.keys], layout.generation.encode()
            reply = await session.run(LOAD, keys, field, generation, packed.data)
            if not reply:
                raise lost(AGAIN)
            self.conflicts += reply[0]
            complete = bool(reply[1])
        return complete

    async def measure(self, session: Session, found: Complete) -> None:
        """Check how full the buckets are; claims that have outgrown them become incomplete."""
        samples = found.layout.samples()
        self.per_bucket = await session.run(SIZES, samples) / len(samples)
        bits = found.layout.bits
        if self.per_bucket > WIDEST and bits < MAX_BITS:
            wider = bits_for(int(self.per_bucket * 2**bits))
            await session.run(OUTGROW, [self.key], found.epoch, str(wider).encode())

    async def begin(
        self, session: Session, expected: int, recent: Sequence[Claimed]
    ) -> Task | None:
        """Register this dedup store as a loader; return ``None`` if the claims are complete.

        It waits while another loader makes progress.

        Args:
            expected: the approximate number of decisions that will be loaded.
            recent: claims whose records may not have reached the broker yet. They are passed to
                the loader, so that no other dedup store decides without them afterwards.
        """
        handed = ""
        await self.await_observer(session)
        loader = secrets.token_hex(4)
        bits = bits_for(max(expected, self._expected))
        while True:
            standing = await self.look(session)
            begun = session.identity
            reply = await session.run(
                BEGIN,
                [self.key],
                standing.recorded,
                begun.token,
                flag(standing.kept),
                str(bits).encode(),
                loader.encode(),
                flag(self.sketches),
                str(int(self.loader_timeout_s * 1000)).encode(),
                self._form,
            )
            if not reply:  # another filter has recorded another server in the meantime
                continue
            verb, generation, chosen, form = (each.decode() for each in reply)
            if verb != "wait":
                break
            if generation != handed:
                fitting = recent if form.encode() == self._form else _without_sketches(recent)
                layout = KeyLayout(self._namespace, int(chosen), generation)
                await self._hand(session, layout, fitting)
                handed = generation
            await asyncio.sleep(RETRY_S)
        self.policies.clear()
        if verb == "complete":
            return None
        return Task(KeyLayout(self._namespace, int(chosen), generation), loader, begun)

    async def _hand(self, session: Session, layout: KeyLayout, recent: Sequence[Claimed]) -> None:
        """Add claims to those that another dedup store is loading."""
        with suppress(StateLost):  # another loader was faster, and the caller checks again
            field = b"loader:" + layout.generation.encode()
            await self.add(session, layout, recent, field)

    async def look(self, session: Session) -> ServerState:
        """Return the recorded server, and whether its data is still there.

        A change that leaves the data intact is recorded.

        Raises:
            Unavailable: the server may evict claims, or is a replica.
        """
        before = self._observed
        now = await self._observe(session)
        recorded = await session.call("HGET", self.key, "server")
        known = None if recorded is None else ServerIdentity.parse(recorded)
        observed = known is not None and self._observed_as(known, before)
        kept = recorded is None or (known is not None and now.keeps(known, observed=observed))
        if kept and known is not None:
            recorded = await self._note(session, known, now)
        if now.evicts:
            raise evicting(now.policy)
        return ServerState(recorded or b"", kept)

    def _observed_as(
        self, known: ServerIdentity, before: tuple[ServerIdentity, float] | None
    ) -> bool:
        """Return whether this dedup store has just seen the recorded server."""
        if before is None or self._clock() - before[1] > OBSERVED_S:
            return False
        return before[0].is_same_history(known)

    async def _observe(self, session: Session) -> ServerIdentity:
        identity = await session.identify()
        if identity.is_replica:
            self._observed = None
            raise Unavailable(
                "the Redis server is a replica, which cannot be written to; point "
                "PROMPTMILL_REDIS at the primary",
                retry_after_s=RETRY_S,
            )
        self._observed = identity, self._clock()
        return identity

    async def _note(self, session: Session, known: ServerIdentity, now: ServerIdentity) -> bytes:
        """Record the present server, and return its token."""
        token = now.recorded_after(known).token
        if token != known.token:
            await session.run(RENEW, [self.key], known.token, token)
        return token

    async def await_observer(self, session: Session) -> None:
        """Give a dedup store that observed a change of the server the time to record it."""
        deadline = self._clock() + OBSERVER_WAIT_S
        while self._clock() < deadline:
            standing = await self.look(session)
            known = ServerIdentity.parse(standing.recorded)
            if standing.kept or known is None or not session.identity.may_continue(known):
                return
            await asyncio.sleep(OBSERVER_WAIT_S / 10)

    async def name_policies(self, session: Session, versions: set[str]) -> None:
        """Store the full versions of these policies, which decisions name by a digest."""
        for version in versions.difference(self.policies.values()):
            digest = policy_digest(version)
            await session.call("HSET", self.key, policy_field(digest), version)
            self.policies[digest] = version

    async def policy(self, session: Session, digest: bytes) -> str:
        """Return the version of the policy with this digest."""
        if digest not in self.policies:
            version = await session.call("HGET", self.key, policy_field(digest))
            self.policies[digest] = (version or b"unknown@" + digest.hex().encode()).decode()
        return self.policies[digest]


def _without_sketches(claims: Sequence[Claimed]) -> list[Claimed]:
    """Return the claims as a loader takes them whose sketches have another form."""
    return [
        replace(each, records=tuple(replace(record, sketch=None) for record in each.records))
        for each in claims
    ]


def flag(yes: bool) -> bytes:
    """Encode a truth value for the scripts."""
    return b"1" if yes else b"0"


def lost(how: str) -> StateLost:
    """Return the error for a claim that must not be decided."""
    text = f"the claims {how}; nothing is decided until they are rebuilt from the store"
    return StateLost(text, retry_after_s=RETRY_S)


def evicting(policy: str) -> Unavailable:
    """Return the error for a claim while the server may evict keys."""
    return Unavailable(
        f"Redis has maxmemory-policy {policy}, which evicts claims when memory is full; {REMEDY}",
        retry_after_s=RETRY_S,
    )
