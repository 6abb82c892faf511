"""The whole pipeline on a broker that identifies every client by a certificate or by a token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from promptmill.devstack.security import ADMIN
from support.kafka_logins import LoginsBroker, running_broker, token_command
from support.pipeline import Pipeline, receipts, write_prompts

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

WITHIN_S = 400
TOKEN_S = 10
"""The broker closes the connections of a token after this time, so that all workers get others."""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoginsBroker]:
    with running_broker(tmp_path_factory.mktemp("logins")) as running:
        yield running


def settings_for(login: str, broker: LoginsBroker, folder: Path) -> dict[str, str]:
    """The variables of a client that logs in this way."""
    if login == "token":
        command = token_command(folder, TOKEN_S)
        given = broker.over_tls("OAUTHBEARER", sasl_oauthbearer_token_command=command)
        return {"PROMPTMILL_KAFKA": broker.sasl, **given}
    certificate = broker.security.signer.certificate(ADMIN)
    given = broker.with_certificate(ssl_certificate_location=certificate)
    return {"PROMPTMILL_KAFKA": broker.mtls, **given}


@pytest.mark.parametrize("login", ["certificate", "token"])
def test_all_workers_and_commands_log_in(
    broker: LoginsBroker, redis_url: str, tmp_path: Path, login: str
) -> None:
    own = {"PROMPTMILL_REDIS": redis_url, "PROMPTMILL_TOPIC_PREFIX": f"{login}."}
    pipeline = Pipeline(tmp_path / "home", settings_for(login, broker, tmp_path) | own)
    pipeline.home.mkdir()
    file = write_prompts(
        tmp_path / "prompts.jsonl", [{"prompt": f"What is river number {n}?"} for n in range(10)]
    )
    out = tmp_path / "receipts.jsonl"
    pipeline.json("topics", "--partitions", "2", within_s=WITHIN_S)
    with pipeline.workers("--all", "--engine", "scripted"):
        pipeline.json("publish", str(file), "--run", "r", "--receipts", str(out), within_s=WITHIN_S)
        status = pipeline.settle("r", within_s=WITHIN_S)
    assert status["published"] == 10
    pipeline.audit("r", receipts(out))
    if login == "token":
        assert len((tmp_path / "runs").read_text().split()) >= 6, "each process gets its own token"
