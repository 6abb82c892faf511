"""The settings of water marks, from flags, the environment and the settings file.

Marks belong to topics, so all processes of a pipeline should have the same settings:
``PROMPTMILL_HIGH_RECORDS`` for all topics, and ``PROMPTMILL_SCORED_HIGH_RECORDS`` for one.
"""

from __future__ import annotations

from pydantic import Field

from promptmill.flow.marks import MIB, Marks
from promptmill.runtime.settings import Settings, checked_settings
from promptmill_schemas import TOPICS


class FlowSettings(Settings):
    """The marks by topic; a mark that is not set has the value for all topics.

    Attributes:
        high_records: records on a topic above which its writers are held.
        high_bytes: the same, in bytes.
        low_share: the share of the high mark at which writers continue.
    """

    high_records: int = Field(default=50_000, ge=1)
    high_bytes: int = Field(default=1024 * MIB, ge=1)
    low_share: float = Field(default=0.5, ge=0, lt=1)
    prompts_high_records: int | None = Field(default=100_000, ge=1)
    prompts_high_bytes: int | None = Field(default=None, ge=1)
    completions_high_records: int | None = Field(default=None, ge=1)
    completions_high_bytes: int | None = Field(default=None, ge=1)
    scored_high_records: int | None = Field(default=None, ge=1)
    scored_high_bytes: int | None = Field(default=None, ge=1)
    records_high_records: int | None = Field(default=None, ge=1)
    records_high_bytes: int | None = Field(default=None, ge=1)
    rejects_high_records: int | None = Field(default=None, ge=1)
    rejects_high_bytes: int | None = Field(default=None, ge=1)
    dead_letters_high_records: int | None = Field(default=None, ge=1)
    dead_letters_high_bytes: int | None = Field(default=None, ge=1)

    def marks(self) -> dict[str, Marks]:
        """Return the marks of each topic, by its short name."""
        return {topic.name: self._marks(topic.name.replace("-", "_")) for topic in TOPICS}

    def _marks(self, field: str) -> Marks:
        return Marks(
            getattr(self, f"{field}_high_records") or self.high_records,
            getattr(self, f"{field}_high_bytes") or self.high_bytes,
            self.low_share,
        )


def load_marks() -> dict[str, Marks]:
    """Load the marks of this process, by topic.

    Raises:
        Misconfigured: a value in the environment or the settings file is invalid.
    """
    return checked_settings(FlowSettings).marks()
