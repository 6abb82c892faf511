"""Settings of a stage's loop. Their names include the units."""

from __future__ import annotations

from dataclasses import dataclass

from promptmill.runtime.errors import Misconfigured
from promptmill.runtime.timing import backoff_s
from promptmill.stream.layout import DataSetLayout


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """Limits of one stage's loop.

    Attributes:
        slots: records in flight at the same time.
        prefetch: records in the backlogs of all partitions at which partitions are paused; at least
            four times the slots.
        prefetch_bytes: the same limit in bytes.
        attempts: attempts before a record is dead-lettered. An engine over HTTP has a retry budget
            of its own for each request and raises a final error when that is used up.
        backoff_initial_s: pause after the first failed attempt; it doubles with each failure.
        backoff_max_s: the longest pause between attempts.
        deadline_s: processing time after which a record is dead-lettered.
        commit_interval_s: time between commits while records finish.
        revoke_budget_s: time to wait for outcomes that are being published at a revocation.
        grace_s: total time of a shutdown, including the last commit.
        engine_deaths: worker deaths caused by a record before it is dead-lettered.
        failover_s: time limit of one request to the broker.
        layout: the layout of the data set. Misplaced messages are published again; without a
            layout, every message is processed where it is.
    """

    slots: int = 64
    prefetch: int = 2_000
    prefetch_bytes: int = 16 * 1024 * 1024
    attempts: int = 5
    backoff_initial_s: float = 0.2
    backoff_max_s: float = 30.0
    deadline_s: float = 900.0
    commit_interval_s: float = 1.0
    revoke_budget_s: float = 3.0
    grace_s: float = 30.0
    failover_s: float = 30.0
    layout: DataSetLayout | None = None
    engine_deaths: int = 3

    def __post_init__(self) -> None:
        for name in ("slots", "prefetch", "attempts", "engine_deaths"):
            if getattr(self, name) < 1:
                raise Misconfigured(f"{name} is {getattr(self, name)}: it must be at least 1")
        for name in ("deadline_s", "commit_interval_s", "revoke_budget_s", "backoff_initial_s"):
            if getattr(self, name) <= 0:
                raise Misconfigured(f"{name} is {getattr(self, name)}: it must be above 0")
        if self.backoff_max_s < self.backoff_initial_s:
            raise Misconfigured(
                f"backoff_max_s is {self.backoff_max_s}, below backoff_initial_s "
                f"({self.backoff_initial_s}): raise it"
            )

    def backoff_s(self, attempt: int) -> float:
        """The pause after the given failed attempt (from 1), with jitter, in seconds."""
        return backoff_s(attempt, self.backoff_initial_s, self.backoff_max_s)
