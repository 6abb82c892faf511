"""Registering the contracts' JSON Schemas at a schema registry with Confluent's API.

Messages are not prefixed with a schema's id, so a value has the same bytes with and without a
registry. A schema is registered under ``TOPIC-value``, and registering it again changes nothing.
"""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

import orjson
from pydantic import Field, SecretStr

from promptmill.runtime.errors import Misconfigured, PromptmillError, Unavailable
from promptmill.runtime.settings import Settings, checked_settings
from promptmill_schemas import TOPICS
from promptmill_schemas.documents import json_schema

MEDIA_TYPE: Final = "application/vnd.schemaregistry.v1+json"
TIMEOUT_S: Final = 10.0
MAX_ANSWER_BYTES: Final = 1024 * 1024
_PREFIX: Final = "PROMPTMILL_SCHEMA_REGISTRY_"
_LOCAL: Final = {"localhost", "127.0.0.1", "::1"}

_REMEDIES: Final = {
    401: f"set {_PREFIX}USERNAME and {_PREFIX}PASSWORD to a user that may write subjects",
    403: "allow this user to write the subject",
    404: "give the base URL of a registry with Confluent's API",
    409: "set the compatibility of the subject to FORWARD (PUT /config/SUBJECT), which allows the "
    "optional fields that a later version adds, or use another PROMPTMILL_TOPIC_PREFIX",
    422: "the registry has to support JSON Schema of draft 2020-12",
}
"""The remedy for a registry's refusal, by HTTP status."""


class RegistrySettings(Settings):
    """The user of the schema registry, from the environment or the settings file.

    Attributes:
        topic_prefix: prefix of every topic's name.
        schema_registry_username: the user, or the key of an API; empty without a login.
        schema_registry_password: the password, or the secret of the key.
        schema_registry_password_file: a file that holds the password instead.
    """

    topic_prefix: str = Field(default="")
    schema_registry_username: str = ""
    schema_registry_password: SecretStr | None = None
    schema_registry_password_file: Path | None = None

    def password(self) -> str:
        """Return the password; empty if there is none.

        Raises:
            Misconfigured: the file cannot be read.
        """
        if self.schema_registry_password is not None:
            return self.schema_registry_password.get_secret_value()
        file = self.schema_registry_password_file
        try:
            return "" if file is None else file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Misconfigured(f"{_PREFIX}PASSWORD_FILE cannot be read: {error}") from None


@dataclass(frozen=True, slots=True)
class Subject:
    """A subject with the schema that belongs under it, as JSON text."""

    name: str
    schema: str


def subjects(prefix: str = "") -> list[Subject]:
    """Return the subjects of all topics.

    Args:
        prefix: the prefix of the topics' names.
    """
    return [Subject(f"{prefix}{topic.name}-value", _schema_text(topic)) for topic in TOPICS]


class SchemaRegistry:
    """A client of a schema registry.

    Args:
        url: its base URL.
        settings: the user and the password.

    Raises:
        Misconfigured: the URL is invalid, or contains a user name or password.
    """

    def __init__(self, url: str, settings: RegistrySettings) -> None:
        self._url = _checked(url)
        self._login = ""
        if settings.schema_registry_username:
            pair = f"{settings.schema_registry_username}:{settings.password()}"
            self._login = f"Basic {b64encode(pair.encode()).decode()}"

    @property
    def exposes_login(self) -> bool:
        """Whether a password would be sent to another machine without encryption."""
        parts = urlsplit(self._url)
        return bool(self._login) and parts.scheme == "http" and parts.hostname not in _LOCAL

    def register(self, subject: Subject) -> int:
        """Register a schema, and return its id in the registry.

        Raises:
            Misconfigured: the registry refuses the user or the schema; the message says why.
            Unavailable: the registry does not answer, or fails.
        """
        body = {"schemaType": "JSON", "schema": subject.schema}
        url = f"{self._url}/subjects/{quote(subject.name, safe='')}/versions"
        request = Request(url, orjson.dumps(body), {"Content-Type": MEDIA_TYPE}, method="POST")  # noqa: S310 - the scheme was checked
        if self._login:
            request.add_unredirected_header("Authorization", self._login)
        try:
            with urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - the scheme was checked
                return self._id_in(answer.read(MAX_ANSWER_BYTES), subject)
        except HTTPError as error:
            raise self._refusal(subject, error) from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise Unavailable(
                f"the schema registry at {self._url} does not answer ({reason}): start it, or "
                "correct --register"
            ) from None

    def _id_in(self, raw: bytes, subject: Subject) -> int:
        answer = _parsed(raw)
        found = answer.get("id")
        if isinstance(found, int) and not isinstance(found, bool):
            return found
        raise Misconfigured(
            f"{self._url} did not answer with the id of the schema of {subject.name}: give the "
            "base URL of a registry with Confluent's API"
        )

    def _refusal(self, subject: Subject, error: HTTPError) -> PromptmillError:
        with error:
            answer = _parsed(error.read(MAX_ANSWER_BYTES))
        words = str(answer.get("message") or error.reason)[:500]
        said = f"the schema registry at {self._url} refuses {subject.name} ({error.code}): {words}"
        if error.code == 429 or error.code >= 500:
            return Unavailable(f"{said}; try again later")
        return Misconfigured(f"{said}; {_REMEDIES.get(error.code, 'correct --register')}")


def load_registry_settings() -> RegistrySettings:
    """Load the settings; raises ``Misconfigured`` if a value is invalid."""
    return checked_settings(RegistrySettings)


def _schema_text(topic: Any) -> str:
    """Return the schema without its file name, which a registry could not resolve."""
    schema = {name: part for name, part in json_schema(topic).items() if name != "$id"}
    return orjson.dumps(schema).decode()


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _checked(url: str) -> str:
    form = "use --register http://HOST:PORT"
    try:
        parts = urlsplit(url.strip())
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise Misconfigured(f"--register is not a URL ({error}): {form}") from None
    if "@" in parts.netloc:
        raise Misconfigured(
            f"--register for {host} contains a user name or password: remove it, and set "
            f"{_PREFIX}USERNAME and {_PREFIX}PASSWORD in the environment"
        )
    if parts.scheme not in {"http", "https"} or not host or parts.query or parts.fragment:
        raise Misconfigured(f"--register is {url!r}: {form}")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
