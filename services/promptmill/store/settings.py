"""Settings of a store worker."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from promptmill.store.limits import SinkLimits
from promptmill.stream.stage_settings import StageSettings

EXAMPLES = """examples:
  promptmill run store
  promptmill run store --flush-delay-s 5 --store /data/training
"""


class StoreSettings(StageSettings):
    """Write prompts, records, rejects and dead letters to Delta tables, each exactly once."""

    stage: ClassVar[str] = "store"

    flush_delay_s: float = Field(
        default=1.0, gt=0, description="longest time that a message waits before it is stored"
    )
    flush_rows: int = Field(
        default=10_000, ge=1, description="maximum number of messages in one commit"
    )
    compact_commits: int = Field(
        default=200,
        ge=0,
        description="number of commits after which small files are merged; 0: never",
    )
    vacuum_hours: int = Field(
        default=24,
        ge=-1,
        description="hours after which files that were merged away are deleted; -1: never",
    )
    log_retention_days: int = Field(
        default=30,
        ge=1,
        description="days for which a version of a table can be opened by its number",
    )

    def sink_limits(self) -> SinkLimits:
        """The part that the sink's loop needs."""
        return SinkLimits(
            flush_delay_s=self.flush_delay_s,
            flush_rows=self.flush_rows,
            buffer_rows=3 * self.flush_rows,
            revoke_budget_s=self.revoke_budget_s,
            grace_s=self.grace_s,
            compact_commits=self.compact_commits,
            vacuum_hours=self.vacuum_hours,
        )
