"""Certificates and users of a secure local stack.

Everything is in the folder ``secure`` of the home, which only its owner can read: the authority's
certificate, the brokers' certificate with its key, and one file with the password of each user.
The brokers know the users from the moment their storage is formatted.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from promptmill.devstack.ports import LOOPBACK
from promptmill.runtime.errors import Misconfigured

MECHANISM: Final = "SCRAM-SHA-512"
STAGES: Final = ("instruct", "reward", "filter", "store")
OPERATOR: Final = "operator"
"""The user of the commands."""

ADMIN: Final = "admin"
"""The user with all rights; only ``promptmill up`` logs in as this user."""

BROKER: Final = "broker"
USERS: Final = (ADMIN, BROKER, OPERATOR, *STAGES)

REDIS_USER: Final = "promptmill"
"""The user of all commands and workers in Redis."""

_LISTENER = "listener.name.sasl_ssl"
_CONTROLLER = "listener.name.controller"
_NAME = "promptmill-local"
_VALID_DAYS = 3650
_LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule"


class StackSecurity:
    """The certificates and passwords of one home.

    Args:
        home: the absolute path of the home folder.
    """

    def __init__(self, home: Path) -> None:
        self.folder = home / "secure"

    @property
    def authority(self) -> Path:
        """The certificate of the authority that signed the brokers' certificate, as PEM."""
        return self.folder / "ca.pem"

    @property
    def certificate(self) -> Path:
        """The certificate of the brokers and its key, as PEM."""
        return self.folder / "broker.pem"

    def password_file(self, user: str) -> Path:
        """Return the path of the file with the user's password."""
        return self.folder / f"{user}.password"

    def password(self, user: str) -> str:
        """Return the user's password.

        Raises:
            Misconfigured: the file was deleted.
        """
        try:
            return self.password_file(user).read_text("ascii")
        except OSError as error:
            raise Misconfigured(
                f"the password of {user} cannot be read ({error}); discard the stack with "
                "'promptmill down --purge' and start it again with 'promptmill up --secure'"
            ) from error

    def prepare(self) -> None:
        """Create the missing certificates and passwords.

        Raises:
            Misconfigured: the package for certificates is not installed.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for user in (*USERS, REDIS_USER):
            if not self.password_file(user).exists():
                write_private(self.password_file(user), secrets.token_urlsafe(24))
        if not (self.authority.exists() and self.certificate.exists()):
            authority, broker = _make_certificates()
            write_private(self.authority, authority)
            write_private(self.certificate, broker)

    def client_settings(self, user: str) -> dict[str, str]:
        """Return the variables with which a client logs in as this user."""
        return {
            "PROMPTMILL_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "PROMPTMILL_KAFKA_SSL_CA_LOCATION": str(self.authority),
            "PROMPTMILL_KAFKA_SASL_MECHANISM": MECHANISM,
            **self._login("PROMPTMILL_KAFKA", user),
        }

    def environment(self) -> dict[str, str]:
        """Return the variables of commands and workers, with the operator and each stage's user."""
        own = {stage: self._login(f"PROMPTMILL_{stage.upper()}_KAFKA", stage) for stage in STAGES}
        everything = self.client_settings(OPERATOR)
        for login in own.values():
            everything |= login
        return everything

    def _login(self, prefix: str, user: str) -> dict[str, str]:
        return {
            f"{prefix}_SASL_USERNAME": user,
            f"{prefix}_SASL_PASSWORD_FILE": str(self.password_file(user)),
        }

    @cached_property
    def credentials(self) -> Mapping[str, str]:
        """The passwords of the users in Kafka."""
        return {user: self.password(user) for user in USERS}

    def broker_properties(self) -> dict[str, str]:
        """Return the additional ``server.properties`` of a secure broker.

        Clients and brokers log in with SCRAM. Controllers use certificates instead, because SCRAM
        reads the users from the log that the controllers themselves form.
        """
        password = self.credentials[BROKER]
        return {
            "listener.security.protocol.map": "SASL_SSL:SASL_SSL,CONTROLLER:SSL",
            "inter.broker.listener.name": "SASL_SSL",
            "sasl.enabled.mechanisms": MECHANISM,
            "sasl.mechanism.inter.broker.protocol": MECHANISM,
            f"{_LISTENER}.{MECHANISM.lower()}.sasl.jaas.config": (
                f'{_LOGIN} required username="{BROKER}" password="{password}";'
            ),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.certificate),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.authority),
            f"{_CONTROLLER}.ssl.client.auth": "required",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "false",
            "super.users": f"User:{ADMIN};User:{BROKER};User:CN={_NAME}",
        }

    def format_arguments(self) -> list[str]:
        """Return the arguments that add the users when a broker's storage is formatted."""
        return [
            part
            for user, password in self.credentials.items()
            for part in ("--add-scram", f"{MECHANISM}=[name={user},password={password}]")
        ]


def write_private(file: Path, content: str | bytes) -> None:
    """Write a file that only its owner can read at any time."""
    data = content.encode() if isinstance(content, str) else content
    draft = file.with_suffix(file.suffix + ".tmp")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(data)
    draft.replace(file)


def _make_certificates() -> tuple[bytes, bytes]:
    """Create an authority's certificate, and a certificate for loopback with its key, as PEM.

    The authority's key is not kept, so it cannot sign further certificates.
    """
    try:
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            NoEncryption,
            PrivateFormat,
        )
    except ImportError as error:
        raise Misconfigured(
            "a secure local stack needs the package cryptography to make certificates; install "
            "it with: pip install 'promptmill[local]'"
        ) from error
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _signed(f"{_NAME}-ca", authority_key, authority_key, is_authority=True)
    certificate = _signed(_NAME, key, authority_key, is_authority=False)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    trusted = authority.public_bytes(Encoding.PEM)
    return trusted, secret + certificate.public_bytes(Encoding.PEM) + trusted


def _signed(name: str, key: Any, authority_key: Any, *, is_authority: bool) -> Any:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import NameOID

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = datetime.now(UTC)
    alternatives: list[x509.GeneralName] = [
        x509.DNSName("localhost"),
        x509.IPAddress(ip_address(LOOPBACK)),
    ]
    return (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(f"{_NAME}-ca"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks of containers differ
        .not_valid_after(now + timedelta(days=_VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
            critical=False,
        )
        .sign(authority_key, hashes.SHA256())
    )
