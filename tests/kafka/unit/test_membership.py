"""What the coordinator's answers say about a static member's place in its group."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest

from promptmill.kafka.membership import FENCED_INSTANCE, UNKNOWN_MEMBER, Membership, PlaceTaken
from promptmill.runtime.errors import Misconfigured

SESSION_S = 45.0
HEARTBEAT = HeartbeatRequest("group", 1, "member")
COMMIT = OffsetCommitRequest("group", 1, "member", -1, [])
LEAVE = LeaveGroupRequest("group", "member")
JOIN = JoinGroupRequest("group", 45_000, 60_000, "", "same", "consumer", [])


class Case:
    """A membership with a clock and the errors that it reports."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.errors: list[Misconfigured] = []
        self.membership = Membership("same", SESSION_S, self.errors.append, lambda: self.now)

    def answer(self, request: Any, code: int) -> None:
        """The coordinator answers with this code."""
        self.membership.look(request, SimpleNamespace(error_code=code))


def committed_with(code: int) -> SimpleNamespace:
    """The answer to a commit of two partitions, of which the second has this code."""
    return SimpleNamespace(topics=[("items", [(0, 0), (1, code)])])


def test_a_member_that_was_alive_and_is_unknown_has_lost_its_place() -> None:
    case = Case()
    case.answer(HEARTBEAT, 0)
    case.now += SESSION_S - 1
    with pytest.raises(PlaceTaken):
        case.answer(HEARTBEAT, UNKNOWN_MEMBER)
    (error,) = case.errors
    assert "instance_id 'same'" in str(error)
    with pytest.raises(PlaceTaken):
        case.membership.check(JOIN)  # it would take the place back
    case.membership.check(LEAVE)


def test_a_commit_tells_it_too() -> None:
    case = Case()
    case.answer(JOIN, 0)
    case.membership.look(COMMIT, committed_with(0))
    assert case.errors == []
    with pytest.raises(PlaceTaken):
        case.membership.look(COMMIT, committed_with(UNKNOWN_MEMBER))
    assert len(case.errors) == 1


def test_a_member_whose_session_has_expired_joins_again() -> None:
    case = Case()
    case.answer(HEARTBEAT, 0)
    case.now += SESSION_S
    case.answer(HEARTBEAT, UNKNOWN_MEMBER)
    case.membership.check(JOIN)
    assert case.errors == []


def test_a_member_that_missed_a_rebalance_joins_again() -> None:
    case = Case()
    case.answer(HEARTBEAT, 0)
    case.answer(HEARTBEAT, 22)  # ILLEGAL_GENERATION
    case.membership.check(JOIN)
    assert case.errors == []


def test_a_member_that_is_fenced_while_it_joins_has_no_place() -> None:
    case = Case()
    with pytest.raises(PlaceTaken):
        case.answer(JOIN, FENCED_INSTANCE)
    assert len(case.errors) == 1
