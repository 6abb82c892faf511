"""Headers and query parameters from the settings, with secrets from the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version

from pydantic import SecretStr

from promptmill.runtime.errors import Misconfigured

_FROM_ENVIRONMENT = re.compile(r"\$\{?(\w+)\}?")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_SECRETIVE = re.compile(r"auth|key|token|secret|password|cookie", re.IGNORECASE)
_OURS = {"content-type", "content-length", "accept-encoding", "host", "transfer-encoding"}

Values = Mapping[str, SecretStr | str]
"""Values by name; those from the environment are secret."""


def read_headers(given: Mapping[str, str], environment: Mapping[str, str] | None = None) -> Values:
    """The values of further headers; ``$NAME`` stands for a variable of the environment.

    Raises:
        Misconfigured: a name or value is not valid, a variable is not set, or a header that
            carries a secret has it in the settings, where others can read it.
    """
    for name in given:
        if not _TOKEN.fullmatch(name) or name.lower() in _OURS:
            raise Misconfigured(f"headers has {name!r}: give the name of a header, without a colon")
    return _read("headers", given, environment)


def read_query(given: Mapping[str, str], environment: Mapping[str, str] | None = None) -> Values:
    """The values of further query parameters; see :func:`read_headers`."""
    return _read("query", given, environment)


def as_text(values: Values) -> dict[str, str]:
    """The values as they are sent."""
    return {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in values.items()
    }


def without_secrets(text: str, secrets: Iterable[SecretStr]) -> str:
    """Redact the secrets in ``text``, since servers often quote a key that they refuse."""
    for secret in secrets:
        if value := secret.get_secret_value():
            text = text.replace(value, "***")
    return text


def standard_headers() -> dict[str, str]:
    """The headers of every request, without those that identify the user."""
    return {
        "Content-Type": "application/json",
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": f"promptmill/{_version()}",
    }


def key_header(key: SecretStr | None, *, is_azure: bool) -> dict[str, str]:
    """The header that carries the API key; Azure's tokens are JWTs and its keys are not."""
    if key is None:
        return {}
    value = key.get_secret_value()
    if is_azure and not value.startswith("eyJ"):
        return {"api-key": value}
    return {"Authorization": f"Bearer {value}"}


def _read(setting: str, given: Mapping[str, str], environment: Mapping[str, str] | None) -> Values:
    variables = os.environ if environment is None else environment
    return {name: _value(setting, name, text, variables) for name, text in given.items()}


def _value(setting: str, name: str, text: str, environment: Mapping[str, str]) -> SecretStr | str:
    if _SECRETIVE.search(name) and not _FROM_ENVIRONMENT.search(text):
        raise Misconfigured(
            f"{setting} contains the value of {name!r}, which other users of the machine can "
            f"read: set it in the environment, and give {name}=$NAME"
        )

    def variable(found: re.Match[str]) -> str:
        value = environment.get(found[1], "").strip()
        if not value:
            raise Misconfigured(
                f"{setting} takes {name!r} from {found[0]}, which is not set: set {found[1]} in "
                "the environment"
            )
        return value

    value = _FROM_ENVIRONMENT.sub(variable, text)
    if not (value.isascii() and value.isprintable()):
        raise Misconfigured(f"{setting} has a line break or a non-ASCII character in {name!r}")
    return value if value == text else SecretStr(value)


def _version() -> str:
    try:
        return version("promptmill")
    except PackageNotFoundError:
        return "unknown"
