"""How a stage's loop behaves. Units stand in the names."""

from __future__ import annotations

from dataclasses import dataclass

from promptmill.runtime.errors import Misconfigured
from promptmill.runtime.timing import backoff_s
from promptmill.stream.layout import Layout


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """Limits of one stage's loop.

    Attributes:
        slots: records at work at once.
        prefetch: records of one partition that may wait beyond those; more pause it.
        prefetch_bytes: the same, in bytes.
        attempts: how often a record is tried before it is dead-lettered; an engine over HTTP
            has used up its own budget by then, and raises what is final.
        backoff_initial_s: pause after the first failed attempt; doubles each time.
        backoff_max_s: the longest pause between attempts.
        deadline_s: time at work after which a record is dead-lettered.
        commit_interval_s: time between commits while records finish.
        revoke_budget_s: how long a leaving partition waits for outcomes being published.
        grace_s: how long a stopping process may take in all, its last commit included.
        engine_deaths: deaths of a worker over a record before it is dead-lettered unrun.
        failover_s: how long an abandoned call of the broker is waited for.
        layout: of the data set; a message that stands in another partition is published again.
            Without it, every message is worked on where it stands.
    """

    slots: int = 64
    prefetch: int = 1_000
    prefetch_bytes: int = 16 * 1024 * 1024
    attempts: int = 5
    backoff_initial_s: float = 0.2
    backoff_max_s: float = 30.0
    deadline_s: float = 900.0
    commit_interval_s: float = 1.0
    revoke_budget_s: float = 3.0
    grace_s: float = 30.0
    failover_s: float = 30.0
    layout: Layout | None = None
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
        """Pause after the failed attempt of this number (from 1), with jitter."""
        return backoff_s(attempt, self.backoff_initial_s, self.backoff_max_s)
