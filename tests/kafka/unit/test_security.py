"""The security settings of Kafka clients: names, precedence, contradictions, secrets."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from aiokafka.errors import KafkaConnectionError
from faststream.security import SASLScram512

from promptmill.kafka import client as clients
from promptmill.kafka.security import KafkaSecurity, shows_password, use_stage
from promptmill.kafka.tokens import CommandTokens, token_provider
from promptmill.runtime.errors import Misconfigured

PLANTED = "hunter2-secret"
SCRAM = {
    "PROMPTMILL_KAFKA_SECURITY_PROTOCOL": "sasl_ssl",
    "PROMPTMILL_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
    "PROMPTMILL_KAFKA_SASL_USERNAME": "alice",
    "PROMPTMILL_KAFKA_SASL_PASSWORD": PLANTED,
}


@pytest.fixture(autouse=True)
def _no_settings_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROMPTMILL_CONFIG", str(tmp_path / "promptmill.toml"))


def read(stage: str = "", **environment: str) -> KafkaSecurity:
    return KafkaSecurity.read(stage, environment)


def test_nothing_set_is_an_open_connection() -> None:
    assert read().options() == {"security_protocol": "PLAINTEXT"}
    assert read().broker_options() == {}


def test_scram_over_tls_becomes_the_options_of_both_libraries() -> None:
    security = read(**SCRAM)
    options = security.options()
    assert options["ssl_context"].check_hostname
    assert {name: options[name] for name in options if name != "ssl_context"} == {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "alice",
        "sasl_plain_password": PLANTED,
    }
    login = security.broker_options()["security"]
    assert (login.username, login.password, login.use_ssl) == ("alice", PLANTED, True)


def test_a_stage_s_own_user_takes_precedence_over_the_shared_one() -> None:
    own = {"PROMPTMILL_REWARD_KAFKA_SASL_USERNAME": "reward"}
    assert read("reward", **SCRAM, **own).sasl_username == "reward"
    assert read("filter", **SCRAM, **own).sasl_username == "alice"


def test_the_settings_file_has_the_same_names(tmp_path: Path) -> None:
    (tmp_path / "promptmill.toml").write_text(
        'kafka = "broker:9093"\nkafka_security_protocol = "SASL_SSL"\n'
        'kafka_sasl_mechanism = "PLAIN"\nkafka_sasl_username = "all"\n'
        'kafka_sasl_password = "from-the-file"\n[store]\nkafka_sasl_username = "store"\n'
    )
    assert read("store").sasl_username == "store"
    assert read(PROMPTMILL_KAFKA_SASL_USERNAME="bob").sasl_username == "bob"


def test_a_secret_is_read_from_its_file_without_the_line_end(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(PLANTED + "\n")
    (tmp_path / "promptmill.toml").write_text('kafka_sasl_password = "overridden"\n')
    given = {name: value for name, value in SCRAM.items() if not name.endswith("PASSWORD")}
    security = read(**given, PROMPTMILL_KAFKA_SASL_PASSWORD_FILE=str(tmp_path / "password"))
    assert security.options()["sasl_plain_password"] == PLANTED


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"PROMPTMILL_KAFKA_SASL_MECHANISM": "GSSAPI"}, "SASL_MECHANISM is invalid.*SCRAM"),
        ({"PROMPTMILL_KAFKA_SECURITY_PROTOCOL": "TLS"}, "SECURITY_PROTOCOL is invalid.*SASL_SSL"),
        ({"PROMPTMILL_KAFKA_SASL_MECHANISM": ""}, "SASL_SSL: set .*SASL_MECHANISM"),
        ({"PROMPTMILL_KAFKA_SASL_PASSWORD": ""}, "SCRAM-SHA-512: set .*SASL_PASSWORD"),
        ({"PROMPTMILL_KAFKA_SASL_USERNAME": ""}, "SCRAM-SHA-512: set .*SASL_USERNAME"),
        ({"PROMPTMILL_KAFKA_SASL_PASSWORD_FILE": "/none"}, "set either .*PASSWORD or"),
        ({"PROMPTMILL_KAFKA_SASL_USER": "x"}, "no setting PROMPTMILL_KAFKA_SASL_USER:"),
        ({"PROMPTMILL_KAFKA_SECURITY_PROTOCOL": ""}, "PLAINTEXT, which has no login"),
        ({"PROMPTMILL_KAFKA_SASL_MECHANISM": "OAUTHBEARER"}, "set .*TOKEN_COMMAND"),
        ({"PROMPTMILL_KAFKA_SSL_KEY_LOCATION": "/none"}, "set .*SSL_CERTIFICATE_LOCATION"),
    ],
)
def test_a_contradiction_names_the_setting_and_the_remedy_but_no_secret(
    changes: dict[str, str], named: str
) -> None:
    with pytest.raises(Misconfigured, match=named) as refusal:
        read(**SCRAM | changes)
    assert PLANTED not in str(refusal.value)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    missing = read(
        PROMPTMILL_KAFKA_SECURITY_PROTOCOL="SSL",
        PROMPTMILL_KAFKA_SSL_CA_LOCATION=str(tmp_path / "none.pem"),
    )
    with pytest.raises(Misconfigured, match="SSL_CA_LOCATION cannot be read"):
        missing.options()
    (tmp_path / "bad.pem").write_text("no certificate")
    bad = read(
        PROMPTMILL_KAFKA_SECURITY_PROTOCOL="SSL",
        PROMPTMILL_KAFKA_SSL_CERTIFICATE_LOCATION=str(tmp_path / "bad.pem"),
    )
    with pytest.raises(Misconfigured, match="PEM files of one pair"):
        bad.options()


def test_an_encrypted_connection_without_name_check_still_verifies_the_certificate() -> None:
    context = read(
        PROMPTMILL_KAFKA_SECURITY_PROTOCOL="SSL",
        PROMPTMILL_KAFKA_SSL_ENDPOINT_IDENTIFICATION_ALGORITHM="none",
    ).ssl_context()
    assert not context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"


def test_the_settings_do_not_show_their_secrets() -> None:
    assert PLANTED not in repr(read(**SCRAM))
    assert PLANTED not in str(read(**SCRAM).model_dump())


def test_every_client_of_a_process_uses_the_settings_of_its_stage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (SCRAM | {"PROMPTMILL_STORE_KAFKA_SASL_USERNAME": "store"}).items():
        monkeypatch.setenv(name, value)
    for name in ("AIOKafkaConsumer", "AbortableProducer", "KafkaAdmin"):
        monkeypatch.setattr(clients, name, dict)
    use_stage("store")
    try:
        for build in (clients.admin_client, clients.log_consumer, clients.idempotent_producer):
            assert dict(build("a:1", "c"))["sasl_plain_username"] == "store"
        login = clients.consuming_broker("a:1", "c").specification.security
        assert isinstance(login, SASLScram512)
        assert login.username == "store"
    finally:
        use_stage("")


@pytest.mark.parametrize(
    ("protocol", "bootstrap", "shown"),
    [
        ("SASL_PLAINTEXT", "broker:9092", True),
        ("SASL_PLAINTEXT", "localhost:9092,127.0.0.1:9093", False),
        ("SASL_SSL", "broker:9092", False),
    ],
)
def test_a_password_on_an_open_network_is_noticed(
    monkeypatch: pytest.MonkeyPatch, protocol: str, bootstrap: str, shown: bool
) -> None:
    plain = {
        "PROMPTMILL_KAFKA_SECURITY_PROTOCOL": protocol,
        "PROMPTMILL_KAFKA_SASL_MECHANISM": "PLAIN",
    }
    for name, value in (SCRAM | plain).items():
        monkeypatch.setenv(name, value)
    assert shows_password(bootstrap) is shown


class Clock:
    """A time that the test sets."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def tokens(tmp_path: Path, printed: str, clock: Clock) -> CommandTokens:
    """A command that prints this, and counts its runs in a file."""
    script = tmp_path / "token.py"
    script.write_text(
        f"import pathlib\npathlib.Path({str(tmp_path / 'runs')!r}).open('a').write('x')\n"
        f"print({printed!r})"
    )
    return CommandTokens([sys.executable, str(script)], {}, clock)


async def test_a_token_is_kept_for_most_of_its_lifetime(tmp_path: Path) -> None:
    clock = Clock()
    provider = tokens(tmp_path, '{"access_token": "abc", "expires_in": 100}', clock)
    assert [await provider.token(), await provider.token()] == ["abc", "abc"]
    clock.now += 81
    assert await provider.token() == "abc"
    assert (tmp_path / "runs").read_text() == "xx"


async def test_a_token_of_unknown_lifetime_is_used_once(tmp_path: Path) -> None:
    provider = tokens(tmp_path, "opaque-token", Clock())
    assert [await provider.token(), await provider.token()] == ["opaque-token"] * 2
    assert (tmp_path / "runs").read_text() == "xx"


@pytest.mark.parametrize("printed", ["", "two words", '{"error": "denied"}', "[]"])
async def test_what_is_no_token_is_refused_and_not_shown(tmp_path: Path, printed: str) -> None:
    with pytest.raises(KafkaConnectionError, match="neither a token nor JSON") as refusal:
        await tokens(tmp_path, printed, Clock()).token()
    assert "denied" not in str(refusal.value)


async def test_a_command_that_fails_says_how() -> None:
    with pytest.raises(KafkaConnectionError, match="ended with exit status 3"):
        await CommandTokens([sys.executable, "-c", "raise SystemExit(3)"], {}).token()
    with pytest.raises(KafkaConnectionError, match="cannot be run"):
        await CommandTokens(["/no/such/program"], {}).token()


def test_a_command_and_its_extensions_are_parsed() -> None:
    provider = token_provider("token --for 'two words'", "logicalCluster=lkc-1, pool=p")
    assert provider.extensions() == {"logicalCluster": "lkc-1", "pool": "p"}
    for command, extensions in (("'", ""), ("", ""), ("token", "no-value")):
        with pytest.raises(Misconfigured):
            token_provider(command, extensions)
