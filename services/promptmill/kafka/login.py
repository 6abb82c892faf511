"""Finds out why brokers refuse a client, and names the setting that is wrong.

aiokafka logs the reason of a failed connection and then raises the same error for all of them. It
also takes a refused token for a successful login, and the broker closes the connection at the next
request. So after a failed start one more connection is opened, by itself, and its error is read.
No message contains a secret.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from aiokafka.conn import AIOKafkaConnection, OAuthAuthenticator, collect_hosts
from aiokafka.errors import (
    AuthenticationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from promptmill.kafka.security import variable

_WITHIN_MS: Final = 5_000
_CLOSED_WITHIN_S: Final = 1.0
_NAME_MISMATCHES: Final = {62, 64}
"""OpenSSL's codes for a certificate of another host name or address."""

_REFUSED: Final = (AuthenticationFailedError, SaslAuthenticationFailed)


class LoginRefused(KafkaError):  # type: ignore[misc]  # the library has no types
    """A broker refuses this client's login or certificate, or has an invalid certificate itself.

    The message names the setting, and the remedy.
    """


async def why_refused(bootstrap: str, options: Mapping[str, Any]) -> KafkaError | None:
    """Connect to each broker, and return the most informative error.

    Args:
        bootstrap: ``host:port[,host:port…]``.
        options: the options from :meth:`promptmill.kafka.security.KafkaSecurity.options`.

    Returns:
        :class:`LoginRefused` if a setting is wrong, another error if no broker answers, and
        ``None`` if a broker does.
    """
    found: KafkaError | None = None
    for host, port, _ in collect_hosts(bootstrap):
        try:
            await _connect(host, port, options)
        except (KafkaError, OSError, TimeoutError, ValueError) as error:
            found = _explained(f"{host}:{port}", error, options)
            if isinstance(found, LoginRefused):
                return found
        else:
            return None
    return found


async def _connect(host: str, port: int, options: Mapping[str, Any]) -> None:
    connection = _Probe(host, port, request_timeout_ms=_WITHIN_MS, **options)
    try:
        await connection.connect()
        await connection.send(MetadataRequest([]))
    finally:
        closed = connection.close()
        with suppress(TimeoutError):  # after a failed TLS handshake there is nothing to wait for
            async with asyncio.timeout(_CLOSED_WITHIN_S):
                await closed


class _Probe(AIOKafkaConnection):  # type: ignore[misc]
    """A connection that reads the answer to a token."""

    def authenticator_oauth(self) -> OAuthAuthenticator:
        return _TokenLogin(sasl_oauth_token_provider=self._sasl_oauth_token_provider)


class _TokenLogin(OAuthAuthenticator):  # type: ignore[misc]
    async def step(self, payload: bytes | None) -> tuple[bytes, bool] | None:
        if payload:  # a broker that accepts the token sends an empty answer (RFC 7628, section 3.2)
            raise SaslAuthenticationFailed
        step: tuple[bytes, bool] | None = await super().step(payload)
        return step


def _explained(place: str, error: Exception, options: Mapping[str, Any]) -> KafkaError:
    """Explain an error of the connection to this broker by the setting that causes it."""
    cause = error.__cause__ if isinstance(error, KafkaConnectionError) else None
    broken = cause if isinstance(cause, Exception) else error
    protocol, mechanism = options["security_protocol"], options.get("sasl_mechanism", "")
    if isinstance(error, _REFUSED):
        return LoginRefused(f"the broker at {place} refuses {_login(options)}")
    if isinstance(error, (UnsupportedSaslMechanismError, IllegalSaslStateError)):
        return LoginRefused(
            f"the broker at {place} does not offer {mechanism} with {protocol}: correct "
            f"{variable('sasl_mechanism')} or {variable('security_protocol')}, or the port in "
            "PROMPTMILL_KAFKA"
        )
    if isinstance(broken, ssl.SSLError):
        return LoginRefused(_tls_problem(place, broken, protocol))
    if isinstance(error, KafkaConnectionError) and cause is not None:
        return KafkaConnectionError(
            f"the broker at {place} closes the connection: it may not speak {protocol} on this "
            f"port; compare {variable('security_protocol')} with its listeners"
        )
    if isinstance(error, KafkaError):
        return error
    return KafkaConnectionError(f"{place}: {error or type(error).__name__}")


def _login(options: Mapping[str, Any]) -> str:
    mechanism = options["sasl_mechanism"]
    if mechanism == "OAUTHBEARER":
        command = variable("sasl_oauthbearer_token_command")
        return (
            f"the token that the command of {command} prints: it has expired, or was made for "
            "another cluster or user; run the command by hand, and correct it"
        )
    user, password = variable("sasl_username"), variable("sasl_password")
    return (
        f"the login of user {options['sasl_plain_username']!r} with {mechanism}: correct {user} "
        f"or {password} (or {password}_FILE)"
    )


def _tls_problem(place: str, error: ssl.SSLError, protocol: str) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        start = f"the certificate of the broker at {place} is refused ({error.verify_message}): "
        if error.verify_code in _NAME_MISMATCHES:
            setting = variable("ssl_endpoint_identification_algorithm")
            return (
                f"{start}use the name in its certificate in PROMPTMILL_KAFKA, or set {setting} "
                "to none"
            )
        authority = variable("ssl_ca_location")
        return f"{start}set {authority} to the PEM file of the authority that signed it"
    if "CERTIFICATE" in (error.reason or "").upper():
        certificate, key = variable("ssl_certificate_location"), variable("ssl_key_location")
        return (
            f"the broker at {place} asks for a client's certificate and refuses this one or its "
            f"absence ({error.reason}): correct {certificate} and {key}"
        )
    return (
        f"the broker at {place} does not speak TLS with this client ({error.reason}), but "
        f"{variable('security_protocol')} is {protocol}: correct it, or the port in "
        "PROMPTMILL_KAFKA"
    )
