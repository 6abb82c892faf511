"""The identity of a Redis server, and whether it still has the data that was written to it.

``run_id`` alone is not enough: a primary that was a replica in between keeps its ``run_id`` but has
the data of another server. The replication id alone is too strict: a primary takes a new one when
its first replica attaches, and when its last replica has been gone for an hour, and its data stays.
In these cases it has no earlier replication id (``master_replid2``); a promoted replica has one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

_NO_ID = "0" * 40
_FORMAT = "generations-2"
"""The format of claims in Redis, which includes the version of the content keys.

A token of another format names no server, so filters of two versions never use each other's
claims.
"""


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """A server's process and the history of its data, from its ``INFO``.

    Attributes:
        process: ``run_id``, which changes at each start.
        history: ``master_replid``.
        policy: ``maxmemory-policy``.
        evicted: the number of keys that were evicted since the process started.
        promoted: whether there is an earlier replication id: the server was a replica, or it
            has read a dump with the replication id of the process that wrote it.
        is_replica: whether the server refuses writes.
    """

    process: str
    history: str
    policy: str
    evicted: int
    promoted: bool = False
    is_replica: bool = False

    @classmethod
    def of(cls, info: bytes) -> Self:
        """Parse the answer to ``INFO``."""
        lines = (line.partition(":") for line in info.decode().splitlines())
        found = {name: value for name, colon, value in lines if colon}
        return cls(
            process=found.get("run_id", ""),
            history=found.get("master_replid", ""),
            policy=found.get("maxmemory_policy", "noeviction"),
            evicted=int(found.get("evicted_keys", 0)),
            promoted=found.get("master_replid2", _NO_ID) != _NO_ID,
            is_replica=found.get("role", "master") != "master",
        )

    @classmethod
    def parse(cls, token: bytes) -> Self | None:
        """Parse a token; return ``None`` if another version of promptmill wrote it."""
        *parts, form = token.decode().split(":")
        if form != _FORMAT or len(parts) != 4 or not parts[3].isdecimal():
            return None
        return cls(parts[0], parts[1], parts[2], int(parts[3]))

    @property
    def token(self) -> bytes:
        """The text that is stored with the claims to recognise the server."""
        return f"{self.process}:{self.history}:{self.policy}:{self.evicted}:{_FORMAT}".encode()

    @property
    def evicts(self) -> bool:
        """Whether claims may be evicted; the ``volatile`` policies never evict them."""
        return self.policy.startswith("allkeys")

    def is_same_history(self, other: ServerIdentity) -> bool:
        """Return whether both have the same process and replication id."""
        return (self.process, self.history) == (other.process, other.history)

    def may_continue(self, recorded: ServerIdentity) -> bool:
        """Return whether the data may be the same although the replication id differs.

        A promoted replica looks like this too, an hour after its last replica has left. The
        server must therefore have been observed shortly before and after the change.
        """
        return self.process == recorded.process and not self.promoted and not self.is_replica

    def keeps(self, recorded: ServerIdentity, *, observed: bool) -> bool:
        """Return whether no data has been lost since ``recorded`` was written.

        Args:
            observed: whether the server was seen as ``recorded`` a few seconds ago.
        """
        if not self.is_same_history(recorded) and not (observed and self.may_continue(recorded)):
            return False
        if self.evicted in (recorded.evicted, 0):  # CONFIG RESETSTAT sets the count to 0
            return True
        return _is_volatile(self) and _is_volatile(recorded)

    def recorded_after(self, recorded: ServerIdentity) -> ServerIdentity:
        """Return the identity to record from now on, given that no data of ``recorded`` was lost.

        While claims may be evicted, the recorded number of evicted keys does not change.
        """
        evicted = recorded.evicted if self.evicts else self.evicted
        return type(self)(self.process, self.history, self.policy, evicted)


def _is_volatile(identity: ServerIdentity) -> bool:
    return identity.policy.startswith("volatile")
