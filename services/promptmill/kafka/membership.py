"""Notices that another process has taken the place of a static member in its group.

A group has one member for each ``group.instance.id``: the one that joined last. aiokafka sends its
heartbeats and commits without that id. A member that has lost its place is therefore only told
that its member id is unknown, joins again, and takes the place back. Two workers with the same id
would go on like this indefinitely, and both would process every record.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from aiokafka.errors import KafkaError
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest, SyncGroupRequest

from promptmill.runtime.errors import Misconfigured

UNKNOWN_MEMBER: Final = 25
FENCED_INSTANCE: Final = 82
_WITH_ONE_CODE: Final = (HeartbeatRequest, JoinGroupRequest, SyncGroupRequest)
_OF_MEMBERS: Final = (*_WITH_ONE_CODE, OffsetCommitRequest)


class PlaceTaken(KafkaError):  # type: ignore[misc]
    """Ends the requests of a member whose place was taken, so that it does not join again."""


class Membership:
    """The membership of one static member, by what the coordinator answers.

    A member is also unknown if it was silent for longer than its session, for example because its
    process was frozen. It then joins again. So only the answer to a member whose last heartbeat
    was acknowledged within the session shows that its place was taken.

    Args:
        instance_id: the ``group.instance.id``.
        session_s: the session time-out.
        on_lost: called when the place has been taken.
        clock: monotonic time in seconds.
    """

    def __init__(
        self,
        instance_id: str,
        session_s: float,
        on_lost: Callable[[Misconfigured], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._instance_id = instance_id
        self._session_s = session_s
        self._on_lost = on_lost
        self._clock = clock
        self._alive_until = 0.0
        self._is_taken = False

    def check(self, request: Any) -> None:
        """Check a request before it is sent; raises ``PlaceTaken`` if it must not be."""
        if self._is_taken and isinstance(request, _OF_MEMBERS):
            raise PlaceTaken(self._instance_id)

    def look(self, request: Any, response: Any) -> None:
        """Look at the coordinator's answer to a request.

        Raises:
            PlaceTaken: another process has taken the place.
        """
        codes = _codes(request, response)
        if isinstance(request, _WITH_ONE_CODE) and codes == {0}:
            self._alive_until = self._clock() + self._session_s
        is_unknown = UNKNOWN_MEMBER in codes and self._clock() < self._alive_until
        if is_unknown or FENCED_INSTANCE in codes:
            self._is_taken = True
            self._on_lost(
                Misconfigured(
                    f"another process has joined the group with instance_id {self._instance_id!r} "
                    "and has taken this worker's place: give every worker an instance_id of its "
                    "own (PROMPTMILL_INSTANCE_ID, --instance-id), or none, and start it again"
                )
            )
            raise PlaceTaken(self._instance_id)


def _codes(request: Any, response: Any) -> set[int]:
    """The error codes of an answer; empty if the request is not about the membership."""
    if isinstance(request, _WITH_ONE_CODE):
        return {response.error_code}
    if isinstance(request, OffsetCommitRequest):
        return {code for _, partitions in response.topics for _, code in partitions}
    return set()
