"""The whole pipeline on a stack that encrypts, asks for a login and grants least rights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis
from aiokafka.errors import TopicAuthorizationFailedError

from promptmill.devstack.security import OPERATOR, REDIS_USER, USERS, StackSecurity
from promptmill.devstack.stack import find, up
from promptmill.kafka.client import idempotent_producer, open_admin
from promptmill.runtime.errors import Misconfigured
from support.pipeline import Pipeline, receipts, write_prompts

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

WITHIN_S = 400
SCRIPTED = ("--all", "--engine", "scripted")


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A home with a secure stack, started by the command line."""
    pipeline = Pipeline(tmp_path_factory.mktemp("secure"))
    shown = pipeline.json("up", "--secure", "--partitions", "3", within_s=WITHIN_S)
    assert shown["secure"] == str(pipeline.home / "secure")
    yield pipeline
    pipeline.json("down", "--purge", within_s=WITHIN_S)
    assert not (pipeline.home / "secure").exists()


def secrets_of(pipeline: Pipeline) -> list[str]:
    security = StackSecurity(pipeline.home)
    return [security.password(user) for user in (*USERS, REDIS_USER)]


def command_lines(pipeline: Pipeline) -> str:
    """The arguments of all processes, as ``ps`` shows them."""
    found = []
    for process in psutil.process_iter():
        try:
            found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    everything = "\n".join(found)
    assert str(pipeline.home) in everything
    return everything


def test_the_pipeline_runs_without_a_denial_and_shows_no_secret(
    secure: Pipeline, tmp_path: Path
) -> None:
    prompts = [{"prompt": f"What is river number {n}?"} for n in range(20)]
    file = write_prompts(tmp_path / "prompts.jsonl", prompts)
    out = tmp_path / "receipts.jsonl"
    with secure.workers(*SCRIPTED, PROMPTMILL_LOG_LEVEL="DEBUG"):
        secure.json(
            *("publish", str(file), "--run", "safe", "--n", "2", "--receipts", str(out)),
            within_s=WITHIN_S,
        )
        status = secure.settle("safe", within_s=WITHIN_S)
        lines = command_lines(secure)
        checks = secure.json("doctor", within_s=WITHIN_S)
    assert status["published"] == 20
    secure.audit("safe", receipts(out))
    logs = [path.read_text(errors="replace") for path in (secure.home / "logs").glob("*")]
    logs.append((secure.home / "run.log").read_text())
    text = "\n".join([*logs, lines, str(checks), str(status)])
    assert "is Denied" not in text
    assert "NOPERM" not in text
    assert "ACL failure" not in text
    assert not [secret for secret in secrets_of(secure) if secret in text]


async def test_a_stage_cannot_do_what_another_one_does(
    secure: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = find(secure.home)
    assert stack is not None
    for name, value in StackSecurity(secure.home).client_settings("instruct").items():
        monkeypatch.setenv(name, value)
    producer = idempotent_producer(stack.kafka, "instruct")
    await producer.start()
    try:
        with pytest.raises(TopicAuthorizationFailedError):
            await producer.send_and_wait("records", b"forged")
    finally:
        await producer.stop()
    async with open_admin(stack.kafka) as admin:
        answer = await admin.delete_topics(["prompts"])
    assert [code for _, code in answer.topic_error_codes] == [TopicAuthorizationFailedError.errno]


def test_redis_grants_one_user_what_promptmill_needs_and_nothing_else(secure: Pipeline) -> None:
    stack = find(secure.home)
    assert stack is not None
    with redis.Redis.from_url(stack.redis) as client:
        assert client.set("promptmill:t", 1)
        assert client.delete("promptmill:t") == 1
        for refused in (("CONFIG", "GET", "*"), ("FLUSHALL",), ("KEYS", "*"), ("SET", "other", 1)):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*refused)
    address = stack.redis.rpartition("@")[2]
    with (
        redis.Redis.from_url(f"redis://{address}") as client,
        pytest.raises(redis.exceptions.AuthenticationError),
    ):
        client.ping()


def test_the_files_are_the_owner_s_alone(secure: Pipeline) -> None:
    folder = secure.home / "secure"
    private = [*folder.iterdir(), secure.home / "redis" / "redis.conf"]
    private.append(secure.home / "kafka" / "broker-1" / "server.properties")
    assert {oct(path.stat().st_mode & 0o777) for path in private} == {"0o600"}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert StackSecurity(secure.home).environment()["PROMPTMILL_KAFKA_SASL_USERNAME"] == OPERATOR


def test_an_open_stack_is_not_taken_for_a_secure_one(tmp_path: Path) -> None:
    (tmp_path / "kafka" / "broker-1").mkdir(parents=True)
    with pytest.raises(Misconfigured, match=r"open stack.*down --purge"):
        up(tmp_path, secure=True)
