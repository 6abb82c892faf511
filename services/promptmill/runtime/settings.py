"""Settings of all commands and services: flags override the environment, which overrides a file.

The file is ``$PROMPTMILL_CONFIG`` or ``$PROMPTMILL_HOME/promptmill.toml``; its keys are the
field names below. Secrets are read from the environment only and are never printed.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import unquote

from platformdirs import user_data_path
from pydantic import BaseModel, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from promptmill.runtime.errors import Misconfigured

_SCHEMES: Final = {"s3a": "s3", "s3n": "s3"}
"""Hadoop's schemes for the same object store."""


def default_home() -> Path:
    """Return the folder for promptmill's data in the user's home."""
    return user_data_path("promptmill")


class Settings(BaseSettings):
    """The addresses that every command and service needs.

    Attributes:
        home: folder of data, logs and PID files.
        kafka: bootstrap servers, ``host:port[,host:port…]``; ``None`` uses the local stack.
        redis: URL, ``redis://[user:password@]host:port/db``; ``None`` uses the local stack.
        store: folder or URI of the Delta tables; ``None`` is ``home/store``.
    """

    model_config = SettingsConfigDict(env_prefix="PROMPTMILL_", frozen=True, extra="ignore")

    home: Path = Field(default_factory=default_home)
    kafka: str | None = None
    redis: str | None = Field(default=None, repr=False)
    store: str | None = Field(default=None, repr=False)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources in order of precedence: flags, environment, file."""
        file = TomlConfigSettingsSource(settings_cls, toml_file=config_file())
        return init_settings, env_settings, file

    @property
    def store_uri(self) -> str:
        """The store's URI, absolute when it is a local path."""
        return store_location(self.store, self.home)

    @property
    def logs(self) -> Path:
        """The folder of the log files."""
        return self.home / "logs"


def store_location(store: str | None, home: Path) -> str:
    """Normalise a store's location to an absolute path or a URI without a trailing slash.

    Args:
        store: path or URI as configured; if empty, it is ``home/store``.
        home: folder of data and logs.
    """
    if not store:
        return str((home / "store").resolve())
    scheme, colon, rest = store.partition("://")
    if not colon:
        return str(Path(store).resolve())
    if scheme.lower() == "file":
        return str(Path(unquote(rest)).resolve())
    scheme = _SCHEMES.get(scheme.lower(), scheme.lower())
    return f"{scheme}://{'/'.join(part for part in rest.split('/') if part)}"


def config_file() -> Path:
    """Return the path of the settings file, which may not exist."""
    if explicit := os.environ.get("PROMPTMILL_CONFIG"):
        return Path(explicit)
    return Path(os.environ.get("PROMPTMILL_HOME") or default_home()) / "promptmill.toml"


def file_values(stage: str = "") -> dict[str, Any]:
    """Return the values in the settings file; those in the table of the stage take precedence.

    Args:
        stage: name of a stage; empty for the commands, which read only the top level.

    Raises:
        Misconfigured: the file is not valid TOML.
    """
    path = config_file()
    if not path.is_file():
        return {}
    try:
        content = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{path} is not TOML: {error}; correct it or remove it") from error
    shared = {key: value for key, value in content.items() if not isinstance(value, dict)}
    own = content.get(stage)  # not a table, but a value for the key "store", which is also a stage
    return shared | own if isinstance(own, dict) else shared


def load_settings(**flags: Any) -> Settings:
    """Load the settings; flags that are not ``None`` override the other sources."""
    return Settings(**{name: value for name, value in flags.items() if value is not None})


def shown_input(kind: type[BaseModel], finding: Mapping[str, Any]) -> str:
    """Return the refused value, or ``***`` if its setting can hold a secret (``repr=False``).

    Args:
        kind: the settings.
        finding: one of the errors of a ``ValidationError``.
    """
    field = kind.model_fields.get(str(finding["loc"][0])) if finding["loc"] else None
    return repr(finding["input"]) if field is not None and field.repr else "***"


SettingsT = TypeVar("SettingsT", bound=Settings)


def checked_settings(kind: type[SettingsT]) -> SettingsT:
    """Load the settings of this process.

    Raises:
        Misconfigured: a value in the environment or the settings file is invalid.
    """
    try:
        return kind()
    except ValidationError as error:
        finding = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in finding["loc"])
        raise Misconfigured(
            f"the setting {name} is {shown_input(kind, finding)}: {finding['msg']}; correct "
            f"PROMPTMILL_{name.upper()} or the settings file"
        ) from None  # the cause quotes the value
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misconfigured(f"the settings file is not valid TOML: {error}; correct it") from error
