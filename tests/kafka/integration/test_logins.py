"""Every kind of login on a real broker, and what is said about those that it refuses."""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from promptmill.devstack.security import ADMIN
from promptmill.kafka.client import open_admin
from promptmill.kafka.cluster import describe_log
from promptmill.kafka.log_reader import LogReader
from promptmill.kafka.sender import KafkaSender
from promptmill.kafka.topics import TopicSpec, ensure_topics, topic_specs
from promptmill.runtime.errors import Misconfigured, Unavailable
from promptmill.stream.ports import Partition
from support.certificates import Authority
from support.kafka_logins import (
    PASSWORD,
    USER,
    LoginsBroker,
    running_broker,
    token_command,
)

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

WRONG = "planted-password-of-nobody"
LIFETIME_S = 5.0


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoginsBroker]:
    with running_broker(tmp_path_factory.mktemp("logins")) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_settings_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROMPTMILL_CONFIG", str(tmp_path / "promptmill.toml"))


def use(monkeypatch: pytest.MonkeyPatch, given: Mapping[str, object]) -> None:
    """Let the clients of this process have these settings."""
    for name, value in given.items():
        monkeypatch.setenv(name, str(value))


async def brokers_of(address: str) -> int:
    """The number of brokers that a client sees."""
    async with open_admin(address) as admin:
        return len((await admin.describe_cluster())["brokers"])


async def refused(address: str) -> str:
    """The error of a client that may not connect, the whole chain of its causes included."""
    with pytest.raises(Misconfigured) as refusal:
        await describe_log(address, ["prompts"])
    error: BaseException | None = refusal.value
    shown = "".join(traceback.format_exception(error))
    assert PASSWORD not in shown
    assert WRONG not in shown
    with pytest.raises(Misconfigured) as read:
        async with LogReader(address, client_id="t"):
            pass
    assert str(read.value) == str(error)
    return str(error)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
async def test_a_user_logs_in_with_a_password(
    broker: LoginsBroker, monkeypatch: pytest.MonkeyPatch, mechanism: str
) -> None:
    use(monkeypatch, broker.over_tls(mechanism, sasl_username=USER, sasl_password=PASSWORD))
    assert await brokers_of(broker.sasl) == 1


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
async def test_a_wrong_password_is_named_and_not_shown(
    broker: LoginsBroker, monkeypatch: pytest.MonkeyPatch, mechanism: str
) -> None:
    use(monkeypatch, broker.over_tls(mechanism, sasl_username=USER, sasl_password=WRONG))
    error = await refused(broker.sasl)
    assert f"refuses the login of user 'alice' with {mechanism}" in error
    assert "correct PROMPTMILL_KAFKA_SASL_USERNAME or PROMPTMILL_KAFKA_SASL_PASSWORD" in error


@pytest.mark.parametrize("password", ["", "of-the-key"])
async def test_a_client_shows_its_certificate(
    broker: LoginsBroker, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    certificate = broker.security.signer.certificate(ADMIN, password)
    use(monkeypatch, broker.with_certificate(ssl_certificate_location=certificate))
    monkeypatch.setenv("PROMPTMILL_KAFKA_SSL_KEY_PASSWORD", password)
    assert await brokers_of(broker.mtls) == 1


async def test_a_client_without_a_certificate_is_told_which_setting_is_missing(
    broker: LoginsBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, broker.with_certificate())
    error = await refused(broker.mtls)
    assert "correct PROMPTMILL_KAFKA_SSL_CERTIFICATE_LOCATION" in error


async def test_a_certificate_of_another_authority_is_refused_by_the_broker(
    broker: LoginsBroker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    foreign = Authority(tmp_path).certificate(ADMIN)
    use(monkeypatch, broker.with_certificate(ssl_certificate_location=foreign))
    assert "correct PROMPTMILL_KAFKA_SSL_CERTIFICATE_LOCATION" in await refused(broker.mtls)


async def test_a_broker_of_another_authority_is_refused_by_the_client(
    broker: LoginsBroker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use(monkeypatch, broker.over_tls("PLAIN", sasl_username=USER, sasl_password=PASSWORD))
    monkeypatch.setenv("PROMPTMILL_KAFKA_SSL_CA_LOCATION", str(Authority(tmp_path).file))
    error = await refused(broker.sasl)
    assert "the certificate of the broker" in error
    assert "set PROMPTMILL_KAFKA_SSL_CA_LOCATION to the PEM file of the authority" in error


async def test_a_login_where_certificates_are_wanted_is_refused(
    broker: LoginsBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = broker.security.signer.certificate(ADMIN)
    login = broker.over_tls("PLAIN", sasl_username=USER, sasl_password=PASSWORD)
    use(monkeypatch, login)
    monkeypatch.setenv("PROMPTMILL_KAFKA_SSL_CERTIFICATE_LOCATION", str(certificate))
    error = await refused(broker.mtls)
    assert "does not offer PLAIN with SASL_SSL: correct PROMPTMILL_KAFKA_SASL_MECHANISM" in error


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL"])
async def test_a_client_of_another_protocol_is_told_where_to_look(
    broker: LoginsBroker, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    settings = {"PROMPTMILL_KAFKA_SECURITY_PROTOCOL": protocol}
    if protocol == "SSL":
        settings = broker.with_certificate()
    use(monkeypatch, settings)
    with pytest.raises(Unavailable, match="PROMPTMILL_KAFKA_SECURITY_PROTOCOL") as error:
        await describe_log(broker.sasl, ["prompts"])
    assert f"may not speak {protocol} on this port" in str(error.value)


async def test_an_expired_token_is_refused_with_the_setting_s_name(
    broker: LoginsBroker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    command = token_command(tmp_path, seconds=-5)
    use(monkeypatch, broker.over_tls("OAUTHBEARER", sasl_oauthbearer_token_command=command))
    error = await refused(broker.sasl)
    assert "PROMPTMILL_KAFKA_SASL_OAUTHBEARER_TOKEN_COMMAND prints: it has expired" in error


async def test_a_token_command_that_fails_is_an_error_that_may_pass(
    broker: LoginsBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = f"{sys.executable} -c 'raise SystemExit(3)'"
    use(monkeypatch, broker.over_tls("OAUTHBEARER", sasl_oauthbearer_token_command=command))
    with pytest.raises(Unavailable, match=r"TOKEN_COMMAND ended with exit status 3"):
        await describe_log(broker.sasl, ["prompts"])


async def test_tokens_are_refreshed_while_messages_are_sent(
    broker: LoginsBroker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unique: str
) -> None:
    """The broker closes each connection when its token expires."""
    command = token_command(tmp_path, seconds=LIFETIME_S)
    use(monkeypatch, broker.over_tls("OAUTHBEARER", sasl_oauthbearer_token_command=command))
    await ensure_topics(broker.sasl, [TopicSpec(unique, 1, 3_600_000, 1_000_000)])
    began, sent = time.monotonic(), 0
    sender = KafkaSender(broker.sasl, client_id="t", delivery_timeout_s=60.0)
    await sender.start()
    try:
        while time.monotonic() - began < 3 * LIFETIME_S:
            await sender.send(unique, b"k", str(sent).encode())
            sent += 1
            await asyncio.sleep(0.05)  # the time must pass
    finally:
        await sender.stop()
    whole = Partition(unique, 0)
    async with LogReader(broker.sasl, client_id="t") as reader:
        first, end = (await reader.bounds([whole]))[whole]
    assert (first, end) == (0, sent), "a message was lost or sent twice"
    assert len((tmp_path / "runs").read_text().splitlines()) >= 3
    assert "invalid_token" not in broker.log.read_text().partition(unique)[2]


async def test_a_user_who_may_not_create_topics_is_told_what_to_do(
    broker: LoginsBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, broker.over_tls("PLAIN", sasl_username=USER, sasl_password=PASSWORD))
    with pytest.raises(Misconfigured, match="may not create topic") as error:
        await ensure_topics(broker.sasl, topic_specs("none.", brokers=1))
    assert "promptmill topics --plan" in str(error.value)
    assert "Create" in str(error.value)
