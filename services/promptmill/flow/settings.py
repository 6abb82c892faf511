"""The water marks that workers and publishers take from flags, environment and file.

They belong to topics, so every process of a pipeline should be given the same:
``PROMPTMILL_HIGH_RECORDS`` for all topics, ``PROMPTMILL_SCORED_HIGH_RECORDS`` for one.
"""

from __future__ import annotations

from pydantic import Field

from promptmill.flow.marks import MIB, Marks
from promptmill.runtime.settings import Settings, checked_settings
from promptmill_schemas import TOPICS


class FlowSettings(Settings):
    """Marks by topic; one that is not set takes the value for all topics.

    Attributes:
        high_records: records on a topic above which those who write to it are held.
        high_bytes: the same, in bytes.
        low_share: they go on at this share of the high mark.
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
        """The marks of each topic, by its short name."""
        return {topic.name: self._marks(topic.name.replace("-", "_")) for topic in TOPICS}

    def _marks(self, field: str) -> Marks:
        return Marks(
            getattr(self, f"{field}_high_records") or self.high_records,
            getattr(self, f"{field}_high_bytes") or self.high_bytes,
            self.low_share,
        )


def load_marks() -> dict[str, Marks]:
    """The marks of this process, by topic.

    Raises:
        Misconfigured: the environment or the settings file holds a wrong value.
    """
    return checked_settings(FlowSettings).marks()
