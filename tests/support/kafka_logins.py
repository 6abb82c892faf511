"""A broker that takes every kind of login, and the settings of clients that use them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from promptmill.devstack.broker import Broker
from promptmill.devstack.jars import resolve_jars
from promptmill.devstack.kafka import KafkaCluster
from promptmill.devstack.ports import LOOPBACK, free_port
from promptmill.devstack.security import ADMIN, MECHANISM, StackSecurity
from support.certificates import Authority

USER: Final = "alice"
"""A user without any rights; the admin has them all."""

PASSWORD: Final = "planted-password-of-alice"  # noqa: S105 - of a test's broker
_SASL: Final = "listener.name.sasl_ssl"
_COMMON: Final = "org.apache.kafka.common.security"
_OAUTH: Final = f"{_COMMON}.oauthbearer"
_UNSECURED: Final = f"{_OAUTH}.internals.unsecured.OAuthBearerUnsecured"


class AllLogins(StackSecurity):
    """The files and settings of a broker with one listener for SASL and one for mutual TLS.

    Args:
        home: of the broker.
        broker: its ports; SASL uses the ordinary one.
        mtls_port: of the listener that asks for a client's certificate.
    """

    def __init__(self, home: Path, broker: Broker, mtls_port: int) -> None:
        super().__init__(home)
        self._listeners = (
            f"SASL_SSL://{broker.address},MTLS://{LOOPBACK}:{mtls_port},"
            f"CONTROLLER://{LOOPBACK}:{broker.controller_port}"
        )
        self.prepare()
        self.signer = Authority(home / "certificates")
        self.authority.write_bytes(self.signer.file.read_bytes())
        self.certificate.write_bytes(self.signer.certificate("promptmill-local").read_bytes())

    def broker_properties(self) -> dict[str, str]:
        """Those of the secure stack, with further mechanisms and a listener for mutual TLS."""
        plain = f'{_COMMON}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
        scram = f"{_COMMON}.scram.ScramLoginModule required;"
        token = f'{_OAUTH}.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";'
        return super().broker_properties() | {
            "listeners": self._listeners,
            "listener.security.protocol.map": "SASL_SSL:SASL_SSL,MTLS:SSL,CONTROLLER:SSL",
            "sasl.enabled.mechanisms": f"{MECHANISM},SCRAM-SHA-256,PLAIN,OAUTHBEARER",
            f"{_SASL}.plain.sasl.jaas.config": plain,
            f"{_SASL}.scram-sha-256.sasl.jaas.config": scram,
            f"{_SASL}.oauthbearer.sasl.jaas.config": token,
            f"{_SASL}.oauthbearer.sasl.server.callback.handler.class": (
                f"{_UNSECURED}ValidatorCallbackHandler"
            ),
            f"{_SASL}.oauthbearer.sasl.login.callback.handler.class": (
                f"{_UNSECURED}LoginCallbackHandler"
            ),
            f"{_SASL}.oauthbearer.connections.max.reauth.ms": "3600000",  # at most a token's life
            "listener.name.mtls.ssl.client.auth": "required",
            "super.users": f"User:{ADMIN};User:broker;User:CN=promptmill-local;User:CN={ADMIN}",
        }

    def format_arguments(self) -> list[str]:
        """The users of the secure stack, and Alice."""
        alice = f"SCRAM-SHA-256=[name={USER},password={PASSWORD}]"
        return [*super().format_arguments(), "--add-scram", alice]


@dataclass(frozen=True, slots=True)
class LoginsBroker:
    """A running broker.

    Attributes:
        sasl: its address for clients that log in.
        mtls: its address for clients with a certificate.
        security: its files.
        log: what it logs.
    """

    sasl: str
    mtls: str
    security: AllLogins
    log: Path

    def over_tls(self, mechanism: str, **further: object) -> dict[str, str]:
        """The variables of a client that logs in with this mechanism."""
        return variables(
            security_protocol="SASL_SSL",
            ssl_ca_location=self.security.authority,
            sasl_mechanism=mechanism,
            **further,
        )

    def with_certificate(self, **further: object) -> dict[str, str]:
        """The variables of a client with mutual TLS."""
        return variables(
            security_protocol="SSL", ssl_ca_location=self.security.authority, **further
        )


def variables(**settings: object) -> dict[str, str]:
    """The variables of Kafka settings, by their names."""
    return {f"PROMPTMILL_KAFKA_{name.upper()}": str(value) for name, value in settings.items()}


@contextmanager
def running_broker(home: Path) -> Iterator[LoginsBroker]:
    """A broker that takes all logins, stopped at the end."""
    ports: list[int] = []
    for _ in range(3):
        ports.append(free_port(ports))
    port, controller_port, mtls_port = ports
    broker = Broker(1, port, controller_port)
    security = AllLogins(home, broker, mtls_port)
    cluster = KafkaCluster(home, [broker], security)
    cluster.prepare(resolve_jars())
    try:
        cluster.start()
        cluster.wait_ready()
        log = home / "logs" / "kafka-1.log"
        yield LoginsBroker(cluster.bootstrap, f"{LOOPBACK}:{mtls_port}", security, log)
    finally:
        cluster.stop(grace_s=0)


_PROGRAM = """
import base64, json, time

def encoded(part):
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()

now, seconds = time.time(), {seconds!r}
claims = {{"sub": {user!r}, "iat": min(now, now + seconds) - 1, "exp": now + seconds}}
open({runs!r}, "a").write("run\\n")
print(encoded({{"alg": "none"}}), encoded(claims), "", sep=".")
"""


def token_command(folder: Path, seconds: float, user: str = ADMIN) -> str:
    """A command that prints a new token, without a signature, and counts its runs.

    Args:
        folder: of the program and the file ``runs``, which has a line for each run.
        seconds: until the token expires; negative for one that has expired.
        user: whose token it is.
    """
    script = folder / f"token-{user}.py"
    runs = str(folder / "runs")
    script.write_text(_PROGRAM.format(seconds=seconds, user=user, runs=runs))
    return shlex.join((sys.executable, str(script)))
