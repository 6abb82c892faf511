"""Settings of a worker process.

Flags take precedence over the stage's environment variables, these over the shared ones, and these
over the file. ``PROMPTMILL_INSTRUCT_SLOTS`` sets the slots of instruct workers and
``PROMPTMILL_SLOTS`` those of all stages. In the file, the keys of the table ``[instruct]`` take
precedence over those at the top level.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from promptmill.runtime.errors import Misconfigured
from promptmill.runtime.settings import default_home, file_values, shown_input, store_location
from promptmill.stream.settings import LoopSettings

StageSettingsT = TypeVar("StageSettingsT", bound="StageSettings")


class StageSettings(BaseSettings):
    """The settings that all worker processes have in common."""

    stage: ClassVar[str] = ""
    model_config = SettingsConfigDict(
        env_prefix="PROMPTMILL_", frozen=True, extra="ignore", protected_namespaces=()
    )

    home: Path = Field(default_factory=default_home, description="folder for data and logs")
    kafka: str = Field(default="", description="bootstrap servers, host:port[,host:port...]")
    redis: str = Field(default="", repr=False, description="URL, redis://host:port/db")
    store: str = Field(default="", repr=False, description="folder (or URI) of the Delta tables")
    topic_prefix: str = Field(default="", description="prefix of every topic and group name")
    host: str = Field(
        default="127.0.0.1", description="address that the health and metrics endpoint listens on"
    )
    port: int = Field(
        default=0, ge=0, le=65535, description="port of that endpoint; 0 takes a free one"
    )
    log_level: str = Field(
        default="INFO", description="lowest level that is logged: DEBUG, INFO, WARNING or ERROR"
    )
    instance_id: str = Field(
        default="",
        description="static group membership: a name that this worker keeps across restarts",
    )
    compression: str = Field(
        default="lz4", description="compression of messages: lz4, zstd, gzip or none"
    )
    slots: int = Field(default=64, ge=1, description="records processed at the same time")
    prefetch: int = Field(
        default=2000, ge=1, description="records that wait in this worker before it fetches no more"
    )
    attempts: int = Field(
        default=5,
        ge=1,
        description="attempts before a record is dead-lettered; openai: attempts of each request",
    )
    engine_deaths: int = Field(
        default=3, ge=1, description="worker deaths caused by a record before it is dead-lettered"
    )
    deadline_s: float = Field(
        default=900.0, gt=0, description="processing time after which a record is dead-lettered"
    )
    grace_s: float = Field(default=30.0, ge=0, description="total time for a graceful shutdown")
    commit_interval_s: float = Field(
        default=1.0, gt=0, description="seconds between offset commits"
    )
    revoke_budget_s: float = Field(
        default=3.0,
        gt=0,
        description="time to publish finished records when partitions are revoked",
    )
    session_timeout_s: float = Field(
        default=45.0,
        ge=6,
        description="time without a heartbeat after which the broker reassigns the partitions",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The sources in order of precedence: flags, stage environment, environment, file."""
        own = EnvSettingsSource(settings_cls, env_prefix=f"PROMPTMILL_{cls.stage.upper()}_")
        file = InitSettingsSource(settings_cls, file_values(cls.stage))
        return init_settings, own, env_settings, file

    @property
    def effective_slots(self) -> int:
        """The number of slots; workers with a model override it with what keeps the model busy."""
        return self.slots

    def loop_settings(self) -> LoopSettings:
        """The settings of the stream loop."""
        return LoopSettings(
            slots=self.effective_slots,
            prefetch=self.prefetch,
            attempts=self.attempts,
            engine_deaths=self.engine_deaths,
            deadline_s=self.deadline_s,
            grace_s=self.grace_s,
            commit_interval_s=self.commit_interval_s,
            revoke_budget_s=self.revoke_budget_s,
        )

    @property
    def store_uri(self) -> str:
        """The store's URI, absolute when it is a local path."""
        return store_location(self.store, self.home)

    def require_kafka(self) -> str:
        """The bootstrap servers; raises ``Misconfigured`` if they are not set."""
        if not self.kafka:
            raise Misconfigured(
                "no Kafka is known: start the worker with `promptmill run`, which finds the "
                "local stack, or set PROMPTMILL_KAFKA=host:port"
            )
        return self.kafka

    def require_redis(self) -> str:
        """The Redis URL; raises ``Misconfigured`` if it is not set."""
        if not self.redis:
            raise Misconfigured(
                "no Redis is known: start the worker with `promptmill run`, which finds the "
                "local stack, or set PROMPTMILL_REDIS=redis://host:port/0"
            )
        return self.redis


def parse_settings(cls: type[StageSettingsT], argv: Sequence[str], examples: str) -> StageSettingsT:
    """Read the settings from the command line, the environment and the file.

    Args:
        argv: arguments without the program's name.
        examples: text at the end of ``--help``.

    Raises:
        Misconfigured: a value is invalid; the message names it.
        SystemExit: ``--help``, or an unknown flag (exit code 2).
    """
    source: CliSettingsSource[Any] = CliSettingsSource(
        cls,
        cli_prog_name=f"promptmill run {cls.stage}",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        formatter_class=_help_formatter(),
    )
    source.root_parser.epilog = examples
    try:
        return cls(_cli_settings_source=source(args=list(argv)))
    except (ValidationError, SettingsError) as error:
        raise Misconfigured(_explain(cls, error)) from None  # the cause quotes the values


def _help_formatter() -> Any:
    import argparse

    return argparse.RawDescriptionHelpFormatter


def _explain(cls: type[BaseSettings], error: ValidationError | SettingsError) -> str:
    if isinstance(error, SettingsError):
        return f"settings cannot be read: {error}"
    return "; ".join(
        f"{'.'.join(map(str, finding['loc']))} is {shown_input(cls, finding)}: {finding['msg']}"
        for finding in error.errors(include_url=False)
    )
