"""Encryption and authentication of all Kafka clients of this process, from one set of settings.

The settings have the names of librdkafka and Kafka: ``security.protocol`` is
``PROMPTMILL_KAFKA_SECURITY_PROTOCOL`` in the environment and ``kafka_security_protocol`` in the
settings file. A stage can have a user of its own: ``PROMPTMILL_REWARD_KAFKA_SASL_USERNAME``, or
``kafka_sasl_username`` in the table ``[reward]``, takes precedence. Secrets are never flags; each
can also be read from a file, whose path is in the setting with the suffix ``_FILE``.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self

from faststream.security import (
    BaseSecurity,
    SASLOAuthBearer,
    SASLPlaintext,
    SASLScram256,
    SASLScram512,
)
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from promptmill.kafka.tokens import token_provider
from promptmill.runtime.errors import Misconfigured
from promptmill.runtime.settings import file_values

PREFIX: Final = "PROMPTMILL_KAFKA_"
_SECRETS: Final = ("ssl_key_password", "sasl_password")
_ALIASES: Final = {"sasl_mechanisms": "sasl_mechanism", "ssl_cafile": "ssl_ca_location"}
_FILE: Final = "_file"
_SASL: Final = {
    "PLAIN": SASLPlaintext,
    "SCRAM-SHA-256": SASLScram256,
    "SCRAM-SHA-512": SASLScram512,
}


class KafkaSecurity(BaseModel):
    """The security settings, by the names of librdkafka.

    Attributes:
        security_protocol: ``PLAINTEXT``, ``SSL``, ``SASL_PLAINTEXT`` or ``SASL_SSL``.
        ssl_ca_location: PEM file of the authorities that sign the brokers' certificates; the
            system's authorities by default.
        ssl_certificate_location: PEM file of the client's certificate (mutual TLS).
        ssl_key_location: PEM file of its key; by default the key is in the certificate's file.
        ssl_key_password: password of the key.
        ssl_endpoint_identification_algorithm: ``https`` compares the name in a broker's
            certificate with its address, ``none`` does not.
        sasl_mechanism: ``PLAIN``, ``SCRAM-SHA-256``, ``SCRAM-SHA-512`` or ``OAUTHBEARER``.
        sasl_username: the user.
        sasl_password: the user's password.
        sasl_oauthbearer_token_command: a command that prints a token; see
            :mod:`promptmill.kafka.tokens`.
        sasl_oauthbearer_extensions: ``name=value[,name=value…]``, sent with the token.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    ssl_ca_location: Path | None = None
    ssl_certificate_location: Path | None = None
    ssl_key_location: Path | None = None
    ssl_key_password: SecretStr | None = None
    ssl_endpoint_identification_algorithm: Literal["https", "none"] = "https"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = None
    sasl_username: str = ""
    sasl_password: SecretStr | None = None
    sasl_oauthbearer_token_command: str = Field(default="", repr=False)
    sasl_oauthbearer_extensions: str = Field(default="", repr=False)

    @field_validator("security_protocol", "sasl_mechanism", mode="before")
    @classmethod
    def _any_case(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @classmethod
    def read(cls, stage: str = "", environment: Mapping[str, str] | None = None) -> Self:
        """Read the settings from the environment and the settings file.

        Args:
            stage: name of the stage whose own settings take precedence; may be empty.
            environment: the environment; by default that of the process.

        Raises:
            Misconfigured: a name is unknown, a value is invalid, or values contradict each other.
        """
        given: dict[str, object] = {}
        environment = os.environ if environment is None else environment
        for source in _sources(stage, environment):
            _overlay(given, source)
        try:
            security = cls.model_validate(given)
        except ValidationError as error:
            finding = error.errors(include_url=False, include_input=False)[0]
            name = variable(str(finding["loc"][0]))
            raise Misconfigured(f"{name} is invalid: {finding['msg']}; correct it") from None
        security.check()
        return security

    @property
    def encrypts(self) -> bool:
        """Whether connections use TLS."""
        return self.security_protocol.endswith("SSL")

    @property
    def logs_in(self) -> bool:
        """Whether connections authenticate with SASL."""
        return self.security_protocol.startswith("SASL")

    def check(self) -> None:
        """Refuse settings that have no effect or are incomplete.

        Raises:
            Misconfigured: a setting contradicts another one; the message names both.
        """
        for problem in self._problems():
            raise Misconfigured(problem)

    def _problems(self) -> Iterator[str]:
        protocol = f"{variable('security_protocol')} is {self.security_protocol}"
        if not self.encrypts and (unused := self._set("ssl_")):
            yield f"{unused} is set, but {protocol}, which does not encrypt: use SSL or SASL_SSL"
        if not self.logs_in and (unused := self._set("sasl_")):
            yield f"{unused} is set, but {protocol}, which has no login: use SASL_SSL"
        if self.logs_in and self.sasl_mechanism is None:
            known = "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER"
            yield f"{protocol}: set {variable('sasl_mechanism')} to {known} too"
        if self.sasl_mechanism == "OAUTHBEARER" and not self.sasl_oauthbearer_token_command:
            missing = variable("sasl_oauthbearer_token_command")
            yield f"{variable('sasl_mechanism')} is OAUTHBEARER: set {missing} to a command too"
        if self.sasl_mechanism in _SASL and not (self.sasl_username and self.sasl_password):
            which = "sasl_password" if self.sasl_username else "sasl_username"
            mechanism = f"{variable('sasl_mechanism')} is {self.sasl_mechanism}"
            yield f"{mechanism}: set {variable(which)} too"
        if self.ssl_key_location and not self.ssl_certificate_location:
            missing = variable("ssl_certificate_location")
            yield f"{variable('ssl_key_location')} is set: set {missing} too"

    def _set(self, prefix: str) -> str:
        """Return the variable of the first given setting with this prefix, or an empty text."""
        names = sorted(name for name in self.model_fields_set if name.startswith(prefix))
        return variable(names[0]) if names else ""

    def options(self) -> dict[str, Any]:
        """Return the options of aiokafka's clients.

        Raises:
            Misconfigured: a certificate or a key cannot be read.
        """
        options: dict[str, Any] = {"security_protocol": self.security_protocol}
        if self.encrypts:
            options["ssl_context"] = self.ssl_context()
        if self.sasl_mechanism is not None:
            options["sasl_mechanism"] = self.sasl_mechanism
            options |= self._tokens() or {
                "sasl_plain_username": self.sasl_username,
                "sasl_plain_password": self._password(),
            }
        return options

    def broker_options(self) -> dict[str, Any]:
        """Return the same settings as options of FastStream's broker.

        Raises:
            Misconfigured: a certificate or a key cannot be read.
        """
        context = self.ssl_context() if self.encrypts else None
        if self.sasl_mechanism is None:
            return {"security": BaseSecurity(context)} if context else {}
        if tokens := self._tokens():
            return {"security": SASLOAuthBearer(context), **tokens}
        login = _SASL[self.sasl_mechanism]
        return {"security": login(self.sasl_username, self._password(), context)}

    def ssl_context(self) -> ssl.SSLContext:
        """Return the context of TLS connections; a broker's certificate is always verified.

        Raises:
            Misconfigured: a certificate or a key cannot be read, or does not fit.
        """
        context = ssl.create_default_context(cafile=_readable("ssl_ca_location", self))
        context.check_hostname = self.ssl_endpoint_identification_algorithm == "https"
        if certificate := _readable("ssl_certificate_location", self):
            key, password = _readable("ssl_key_location", self), self.ssl_key_password
            # Without a password, OpenSSL would ask for it on the terminal.
            secret = password.get_secret_value() if password else ""
            try:
                context.load_cert_chain(certificate, key, lambda: secret)
            except (ssl.SSLError, OSError) as error:
                raise Misconfigured(
                    f"the certificate {certificate} cannot be used: {error}; correct "
                    f"{variable('ssl_certificate_location')}, {variable('ssl_key_location')} or "
                    f"{variable('ssl_key_password')} (PEM files of one pair)"
                ) from None
        return context

    def _password(self) -> str:
        return self.sasl_password.get_secret_value() if self.sasl_password else ""

    def _tokens(self) -> dict[str, Any]:
        if self.sasl_mechanism != "OAUTHBEARER":
            return {}
        command, extensions = self.sasl_oauthbearer_token_command, self.sasl_oauthbearer_extensions
        return {"sasl_oauth_token_provider": token_provider(command, extensions)}


class _Process:
    """The stage of this process, which decides whose settings its clients use."""

    stage = ""


def use_stage(stage: str) -> None:
    """Let all clients of this process use the settings of the stage.

    Raises:
        Misconfigured: the settings are invalid.
    """
    KafkaSecurity.read(stage)
    _Process.stage = stage


def security() -> KafkaSecurity:
    """Read the settings of this process, which each client does, so that secrets can be replaced.

    Raises:
        Misconfigured: the settings are invalid.
    """
    return KafkaSecurity.read(_Process.stage)


def shows_password(bootstrap: str) -> bool:
    """Return whether a login to these brokers sends a secret without encryption."""
    chosen = security()
    hosts = {address.strip().rpartition(":")[0].strip("[]") for address in bootstrap.split(",")}
    readable = chosen.logs_in and chosen.sasl_mechanism in {"PLAIN", "OAUTHBEARER"}
    return readable and not chosen.encrypts and not hosts <= {"127.0.0.1", "localhost", "::1"}


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return f"{PREFIX}{name.upper()}"


def _sources(stage: str, environment: Mapping[str, str]) -> Iterator[dict[str, object]]:
    """Yield the given settings by name and by source, from the lowest precedence to the highest."""
    prefixes = [PREFIX, *([f"PROMPTMILL_{stage.upper()}_KAFKA_"] if stage else [])]
    found = {key: value for key, value in file_values(stage).items() if key.startswith("kafka_")}
    yield {_known(key.removeprefix("kafka_"), key): value for key, value in found.items()}
    for prefix in prefixes:
        mine = {key: value for key, value in environment.items() if key.startswith(prefix)}
        names = {key: key.removeprefix(prefix).lower() for key in mine}
        yield {_known(names[key], key): value for key, value in mine.items() if value}


def _known(name: str, given: str) -> str:
    """Return the field of a setting, which may be a secret in a file.

    Raises:
        Misconfigured: there is no such setting.
    """
    name = _ALIASES.get(name, name)
    if name.removesuffix(_FILE) in _SECRETS or name in KafkaSecurity.model_fields:
        return name
    known = ", ".join(map(variable, KafkaSecurity.model_fields))
    raise Misconfigured(f"there is no setting {given}: correct its name to one of {known}")


def _overlay(given: dict[str, object], source: dict[str, object]) -> None:
    """Let a source override the earlier ones; a secret and its file replace each other.

    Raises:
        Misconfigured: a source has both a secret and its file, or the file cannot be read.
    """
    for name in _SECRETS:
        path = source.pop(name + _FILE, None)
        if path is None:
            continue
        if name in source:
            raise Misconfigured(f"set either {variable(name)} or {variable(name + _FILE)}")
        try:
            source[name] = Path(str(path)).read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise Misconfigured(f"{variable(name + _FILE)} cannot be read: {error}") from None
    given |= source


def _readable(field: str, settings: KafkaSecurity) -> Path | None:
    path: Path | None = getattr(settings, field)
    if path is None:
        return None
    try:
        with path.open("rb"):
            return path
    except OSError as error:
        raise Misconfigured(f"{variable(field)} cannot be read: {error}; correct it") from None
