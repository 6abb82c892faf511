"""Whether the claims in Redis are complete, and how they become so again.

Every claim says on which epoch it relies, and the script compares: a server that was emptied has
none. An epoch counts only on the server on which it was declared: one that was restarted, or that
took over as a replica, may have missed the last claims.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from promptmill.core.gates.base import Claimed, StateLost
from promptmill.core.gates.layout import Layout, bits_for, policy_digest, policy_field, state_key
from promptmill.core.gates.packing import pack_claimed
from promptmill.core.gates.redis_session import Script, Session

BEGIN: Final = Script("begin.lua")
LOAD: Final = Script("records.lua", "load.lua")
FINISH: Final = Script("finish.lua")

BATCH: Final = 128
"""Claims in one call: the server is busy with them for two milliseconds."""

SKETCHED_BATCH: Final = 16
"""The same with sketches, each of which costs as much as ten claims without."""

RETRY_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Complete:
    """Claims that were found complete, on this server and with this epoch."""

    server: bytes
    epoch: bytes
    layout: Layout


class ClaimState:
    """One gate's part in keeping the claims of a namespace complete.

    Args:
        sketches: whether they must hold a sketch of every record.

    Attributes:
        batch: claims in one call at most.
        conflicts: decisions and contents that were found twice when they were loaded.
    """

    def __init__(self, namespace: str, expected_records: int, *, sketches: bool) -> None:
        self.key = state_key(namespace)
        self.conflicts = 0
        self.sketches = sketches
        self.batch = SKETCHED_BATCH if sketches else BATCH
        self._namespace = namespace
        self._bits = str(bits_for(expected_records)).encode()
        self._loader = b"loader:" + secrets.token_hex(8).encode()
        self._policies: dict[bytes, str] = {}

    async def find(self, session: Session) -> Complete:
        """The complete claims; raises ``StateLost`` if they are not."""
        fields = ("epoch", "server", "bits", "unsketched", "sketched")
        state = await session.call("HMGET", self.key, *fields)
        epoch, server, bits, unsketched, sketched = state
        if epoch is None:
            raise lost("are not there" if server is None else "are being rebuilt")
        if server != session.server:
            raise lost("were last complete before the server restarted or failed over")
        if self.sketches and (sketched is None or sketched != unsketched):
            raise lost("hold records without a sketch")
        self._policies.clear()
        return Complete(server, epoch, Layout(self._namespace, int(bits)))

    async def begin(self, session: Session) -> Layout | None:
        """Where to load the claims; ``None`` if they are complete."""
        bits, complete = await session.run(
            BEGIN, [self.key], session.server, self._bits, self._loader, flag(self.sketches)
        )
        self._policies.clear()
        return None if complete else Layout(self._namespace, int(bits))

    async def load(self, session: Session, layout: Layout, published: Sequence[Claimed]) -> bool:
        """Whether the claims have become complete meanwhile, by another filter's work."""
        complete = False
        for start in range(0, len(published), self.batch):
            batch = published[start : start + self.batch]
            await self.name_policies(session, {each.policy for each in batch})
            packed = pack_claimed(layout, batch)
            keys = [self.key, *packed.keys]
            reply = await session.run(LOAD, keys, self._loader, session.server, packed.data)
            if not reply:
                raise lost("were lost again during the rebuild")
            self.conflicts += reply[0]
            complete = bool(reply[1])
        return complete

    async def finish(self, session: Session) -> None:
        """Declare the claims complete."""
        epoch = secrets.token_hex(8).encode()
        if not await session.run(FINISH, [self.key], self._loader, session.server, epoch):
            raise lost("were lost again during the rebuild")

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
