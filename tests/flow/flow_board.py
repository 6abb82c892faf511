"""A board of lags in memory, on a clock that a test moves; ``board.lua`` is the real one.

``tests/flow/integration/test_board.py`` runs the same election on this board and on Redis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from promptmill.flow.board import Turn
from promptmill.flow.lags import Lags, decode_lags


@dataclass
class MemoryBoard:
    """The lease, the term, the figures and the reports; seconds by ``clock``."""

    clock: Callable[[], float]
    holder: str | None = None
    lease_until_s: float = 0.0
    term: int = 0
    figures: tuple[int, float, bytes] | None = None
    reported: dict[str, bytes] = field(default_factory=dict)

    def candidate(self, identity: str, lease_s: float, keep_s: float = 600.0) -> MemoryElection:
        """One who may measure."""
        return MemoryElection(self, identity, lease_s, keep_s)

    async def read(self) -> Lags | None:
        """The figures that stand."""
        return self.lags()

    def lags(self) -> Lags | None:
        """The same, at once."""
        if self.figures is None:
            return None
        term, at_s, payload = self.figures
        return decode_lags(term, at_s, self.clock(), payload)


@dataclass
class MemoryElection:
    """A :class:`~promptmill.flow.figures.Candidate`."""

    board: MemoryBoard
    identity: str
    lease_s: float
    keep_s: float

    async def turn(self, report: bytes = b"", *, can_measure: bool = True) -> Turn:
        """Report, stand for election, read the figures."""
        board, now_s = self.board, self.board.clock()
        board.reported[self.identity] = report
        if board.lease_until_s <= now_s:
            board.holder = None
        if board.holder is None and can_measure:
            board.holder = self.identity
            board.term = max(board.term + 1, int(now_s * 1_000_000))
        is_mine = can_measure and board.holder == self.identity
        if is_mine:
            board.lease_until_s = now_s + self.lease_s
        return Turn(board.term if is_mine else 0, int(now_s * 1000), board.lags())

    async def reports(self) -> list[bytes]:
        """What the workers have reported."""
        return list(self.board.reported.values())

    async def publish(self, turn: Turn, payload: bytes) -> bool:
        """Put figures on the board, unless another term has begun."""
        if turn.term != self.board.term:
            return False
        self.board.figures = turn.term, turn.now_ms / 1000, payload
        return True

    async def resign(self) -> None:
        """Give the lease back."""
        self.board.reported.pop(self.identity, None)
        if self.board.holder == self.identity:
            self.board.holder = None
