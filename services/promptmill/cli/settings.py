"""Settings of the command line, and the names of topics and groups on the broker."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from promptmill.runtime.settings import Settings, checked_settings
from promptmill_schemas import Topic


def set_flags(flags: Mapping[str, str | Path | None]) -> None:
    """Set the environment variables of the given flags; ``None`` means not given."""
    for name, value in flags.items():
        if value is not None:
            os.environ[f"PROMPTMILL_{name.upper()}"] = str(value)


class CommandSettings(Settings):
    """The shared settings, and the topic prefix that the workers use.

    Attributes:
        topic_prefix: prefix of every topic and group name, so that pipelines can share a cluster.
    """

    topic_prefix: str = Field(default="")

    def topic(self, topic: Topic) -> str:
        """Return the topic's full name on the broker."""
        return f"{self.topic_prefix}{topic.name}"

    def group(self, stage: str) -> str:
        """Return the full name of a stage's consumer group."""
        return f"{self.topic_prefix}promptmill.{stage}"


def load() -> CommandSettings:
    """Load the settings of this command.

    Raises:
        Misconfigured: a value in the environment or the settings file is invalid.
    """
    return checked_settings(CommandSettings)
