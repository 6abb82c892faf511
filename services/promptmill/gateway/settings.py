"""The command line's settings, and the names that topics and groups have on the broker."""

from __future__ import annotations

import tomllib

from pydantic import Field, ValidationError

from promptmill.core.errors import Misconfigured
from promptmill.core.settings import Settings
from promptmill_schemas import Topic


class GatewaySettings(Settings):
    """The shared addresses, and the prefix that the workers use.

    Attributes:
        topic_prefix: before every topic and group name; several pipelines can share a cluster.
    """

    topic_prefix: str = Field(default="")

    def topic(self, topic: Topic) -> str:
        """The topic's full name on the broker."""
        return f"{self.topic_prefix}{topic.name}"

    def group(self, stage: str) -> str:
        """The full name of a stage's consumer group."""
        return f"{self.topic_prefix}promptmill.{stage}"


def load() -> GatewaySettings:
    """The settings of this command.

    Raises:
        Misconfigured: the environment or the settings file holds a wrong value.
    """
    try:
        return GatewaySettings()
    except ValidationError as error:
        finding = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in finding["loc"])
        raise Misconfigured(
            f"the setting {name} is {finding['input']!r}: {finding['msg']}; correct "
            f"PROMPTMILL_{name.upper()} or the settings file"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misconfigured(f"the settings file is not valid TOML: {error}; correct it") from error
