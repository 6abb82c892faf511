"""Which server is at the other end, and whether it still has what was written to it.

``run_id`` alone is not enough: a primary that was a replica in between keeps it, with the data
of another server. The replication id alone is too much: a primary takes a new one when its first
replica attaches, and when the last one has been gone for an hour, and its data stays. But then
it has no earlier replication id (``master_replid2``), which a promoted replica always has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

_NO_ID = "0" * 40
_FORMAT = "generations"
"""How claims lie in Redis. A token of another format names no server, so filters of two versions
never decide on each other's claims."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A server's process and the history of its data, as its ``INFO`` tells.

    Attributes:
        process: ``run_id``, another one after each start.
        history: ``master_replid``.
        policy: ``maxmemory-policy``.
        evicted: keys that were evicted since the start of the process.
        promoted: there is an earlier replication id: the server was a replica, or a dump told
            it the replication id of the process that wrote it.
        is_replica: it takes no writes.
    """

    process: str
    history: str
    policy: str
    evicted: int
    promoted: bool = False
    is_replica: bool = False

    @classmethod
    def of(cls, info: bytes) -> Self:
        """Read the answer to ``INFO``."""
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
        """The identity that a token names; ``None`` if another version wrote the token."""
        *parts, form = token.decode().split(":")
        if form != _FORMAT or len(parts) != 4 or not parts[3].isdecimal():
            return None
        return cls(parts[0], parts[1], parts[2], int(parts[3]))

    @property
    def token(self) -> bytes:
        """What is kept beside the claims to recognise the server by."""
        return f"{self.process}:{self.history}:{self.policy}:{self.evicted}:{_FORMAT}".encode()

    @property
    def evicts(self) -> bool:
        """Whether claims may be evicted; the ``volatile`` policies spare keys without expiry."""
        return self.policy.startswith("allkeys")

    def is_same_history(self, other: Identity) -> bool:
        """Whether both are one process with one replication id."""
        return (self.process, self.history) == (other.process, other.history)

    def may_continue(self, recorded: Identity) -> bool:
        """Whether the data may be the recorded one although the replication id differs.

        A replica that was promoted looks like this too, an hour after its last replica left; so
        it must have been observed shortly before and after the change.
        """
        return self.process == recorded.process and not self.promoted and not self.is_replica

    def keeps(self, recorded: Identity, *, observed: bool) -> bool:
        """Whether nothing that was written at the time of ``recorded`` has been lost since.

        Args:
            observed: the server was seen as ``recorded`` a few seconds ago.
        """
        if not self.is_same_history(recorded) and not (observed and self.may_continue(recorded)):
            return False
        if self.evicted in (recorded.evicted, 0):  # CONFIG RESETSTAT sets the count to 0
            return True
        return _is_volatile(self) and _is_volatile(recorded)

    def recorded_after(self, recorded: Identity) -> Identity:
        """What to keep as the token from now on, given that this one keeps ``recorded``.

        While claims may be evicted, the count stays that of the time before.
        """
        evicted = recorded.evicted if self.evicts else self.evicted
        return type(self)(self.process, self.history, self.policy, evicted)


def _is_volatile(identity: Identity) -> bool:
    return identity.policy.startswith("volatile")
