"""The offset tracker against a model of the log, in any order of events."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from promptmill.stream.offsets import OffsetTracker, decode_map
from promptmill.stream.ports import Position

PARTITION = "prompts-0"


class TrackedPartition(RuleBasedStateMachine):
    """One partition of a log with holes, worked on through crashes and rebalances.

    ``done`` is the truth: the offsets whose outcome was acknowledged, by whatever worker.
    """

    @initialize(holes=st.sets(st.integers(0, 300), max_size=120), first=st.integers(0, 50))
    def begin(self, holes: set[int], first: int) -> None:
        self.log = [offset for offset in range(first, 300) if offset not in holes]
        self.done: set[int] = set()
        self.broker = Position(first)
        self.open_epoch()

    def open_epoch(self) -> None:
        self.start = self.broker
        self.tracker = OffsetTracker(PARTITION, self.broker)
        self.dispatched: set[int] = set()
        self.known = set(decode_map(PARTITION, self.broker.offset, self.broker.metadata))
        self.cursor = self.broker.offset
        self.commits = [self.broker.offset]

    @rule(count=st.integers(1, 40))
    def deliver(self, count: int) -> None:
        for offset in [o for o in self.log if o >= self.cursor][:count]:
            if self.tracker.full:
                return
            dispatch = self.tracker.deliver(offset)
            self.cursor = offset + 1
            assert dispatch or offset in self.done, "skipped what nobody has done"
            if dispatch:
                self.dispatched.add(offset)
                self.done.discard(offset)

    @rule(choice=st.integers(0, 10_000), repeat=st.booleans())
    def deliver_again(self, choice: int, repeat: bool) -> None:
        """A batch that was taken before a pause comes a second time."""
        seen = [o for o in self.log if self.start.offset <= o < self.cursor]
        if seen and repeat:
            assert self.tracker.deliver(seen[choice % len(seen)]) is False

    @precondition(lambda self: self.dispatched - self.done)
    @rule(choice=st.integers(0, 10_000))
    def finish(self, choice: int) -> None:
        running = sorted(self.dispatched - self.done)
        offset = running[choice % len(running)]
        self.tracker.finish(offset)
        self.done.add(offset)
        self.known.add(offset)

    @rule(acknowledged=st.booleans())
    def commit(self, acknowledged: bool) -> None:
        position = self.tracker.to_commit()
        if position is None:
            return
        if acknowledged:
            self.broker = position
            self.tracker.committed(position)
            self.commits.append(position.offset)

    @rule()
    def commit_whose_answer_is_lost(self) -> None:
        if position := self.tracker.to_commit():
            self.broker = position

    @rule()
    def crash_and_restart(self) -> None:
        self.open_epoch()

    @rule(damage=st.sampled_from(["", "pm1", "pm1.00000000.", "pm2.x.y", "\x00" * 40]))
    def restart_with_damaged_map(self, damage: str) -> None:
        self.broker = Position(self.broker.offset, damage)
        self.open_epoch()

    @invariant()
    def nothing_unfinished_is_below_a_commit(self) -> None:
        below = {offset for offset in self.log if offset < self.broker.offset}
        first = self.log[0] if self.log else 0
        assert {o for o in below if o >= first} <= self.done

    @invariant()
    def the_prefix_is_done_and_the_next_is_not(self) -> None:
        prefix = self.tracker.prefix
        assert {o for o in self.log if o < prefix} <= self.done
        running = self.dispatched - self.done
        assert prefix == min(running, default=self.cursor) or prefix == self.start.offset

    @invariant()
    def commits_never_go_back(self) -> None:
        assert self.commits == sorted(self.commits)

    @invariant()
    def what_is_done_or_not_yet_delivered_cannot_be_finished(self) -> None:
        for offset in set(self.log) - (self.dispatched - self.done):
            with pytest.raises(ValueError, match="is not in flight"):
                self.tracker.finish(offset)

    def teardown(self) -> None:
        """After a last clean commit, a restart dispatches exactly what is unfinished."""
        if not hasattr(self, "tracker"):
            return
        self.commit(acknowledged=True)
        known = self.known
        self.open_epoch()
        for offset in [o for o in self.log if o >= self.cursor]:
            dispatched = self.tracker.deliver(offset)
            assert dispatched is (offset not in known), f"offset {offset}"


TrackedPartition.TestCase.settings = settings(stateful_step_count=40, deadline=None)
TestTrackedPartition = TrackedPartition.TestCase
