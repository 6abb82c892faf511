"""A secret in any setting that can hold one is shown by no error, traceback, log or settings.

Settings of text, paths or tables are taken to hold a secret unless :data:`PUBLIC` lists them, so
that a new setting is tested from its first day on.
"""

from __future__ import annotations

import io
import logging
import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from promptmill.cli.settings import load
from promptmill.filter.settings import FilterSettings
from promptmill.inference.http.options import read_api_key
from promptmill.instruct.settings import InstructSettings
from promptmill.kafka.security import KafkaSecurity
from promptmill.lake.table import TableHandle
from promptmill.reward.settings import RewardSettings
from promptmill.runtime.errors import PromptmillError
from promptmill.runtime.redis_client import check_server
from promptmill.runtime.settings import Settings
from promptmill.runtime.telemetry.logs import set_up_logs
from promptmill.store.settings import StoreSettings
from promptmill.stream.stage_settings import StageSettings, parse_settings
from support.bad_answers import status
from support.bad_server import BadServer
from support.http_engines import generating

SECRET = "planted-hunter2"  # noqa: S105
STAGES: tuple[type[StageSettings], ...] = (
    InstructSettings,
    RewardSettings,
    FilterSettings,
    StoreSettings,
)
PUBLIC = {
    *("kafka", "home", "topic_prefix", "host", "log_level", "instance_id", "compression", "engine"),
    *("model", "thinking", "ca_file", "revision", "master_addr", "adapters", "reasoning_tags"),
    *("dialect", "rubric", "principle", "policy_name", "namespace", "api", "dtype"),
    *("tool_call_parser",),
    *("ssl_ca_location", "ssl_certificate_location", "ssl_key_location", "sasl_username"),
    *("security_protocol", "sasl_mechanism", "ssl_endpoint_identification_algorithm"),
}
"""Settings that hold no secret: names, folders, and words of a fixed list."""

VALUES = (
    SECRET,
    f"x={SECRET}",
    f'{{"x": "{SECRET}"}}',
    f"redis://user:{SECRET}@127.0.0.1:1/0",
    f"redis://user:{SECRET}/x@127.0.0.1:port/0",
    f"https://user:{SECRET}@127.0.0.1:1/v1?api_key={SECRET}",
    f"s3://key:{SECRET}@bucket/folder",
    f"Authorization=Bearer {SECRET}",
    f"token --client-secret {SECRET}",
    f"token --client-secret '{SECRET}",
)
"""Secrets as settings hold them, valid and invalid ones."""


def _can_hold_a_secret(annotation: object) -> bool:
    return any(word in str(annotation) for word in ("str", "Path", "dict", "Secret"))


def planted() -> Iterator[tuple[type[Any], str]]:
    """Every setting that is not public, with its class."""
    kinds: list[type[Any]] = [*STAGES, Settings, KafkaSecurity]
    for kind in kinds:
        for name, field in kind.model_fields.items():
            if name not in PUBLIC and _can_hold_a_secret(field.annotation):
                yield kind, name


CASES = list(planted())


def written_log() -> io.StringIO:
    """What the log of this process says from now on."""
    written = io.StringIO()
    set_up_logs("t", "DEBUG", as_json=True)
    logging.root.handlers[0].stream = written  # type: ignore[attr-defined]
    return written


def shown(error: BaseException) -> str:
    """What the log of a process shows of an error, its traceback included."""
    written = written_log()
    structlog.get_logger("t").error("failed", error=str(error), exc_info=error)
    return written.getvalue() + "".join(traceback.format_exception(error)) + str(error)


def what_is_shown(kind: type[Any]) -> str:
    """The settings, or the error of a process that reads them."""
    try:
        if kind is KafkaSecurity:
            return repr(KafkaSecurity.read())
        return repr(load() if kind is Settings else parse_settings(kind, [], ""))
    except PromptmillError as error:
        return shown(error)


@pytest.fixture(autouse=True)
def _own_logs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("PROMPTMILL_CONFIG", str(tmp_path / "promptmill.toml"))
    handlers, level = logging.root.handlers, logging.root.level
    yield
    logging.root.handlers, logging.root.level = handlers, level
    structlog.contextvars.clear_contextvars()


def test_the_settings_that_are_known_to_hold_secrets_are_planted() -> None:
    names = {name for _, name in CASES}
    assert {"redis", "store", "base_url", "headers", "query", "judge_keys"} <= names
    assert {"sasl_password", "ssl_key_password", "sasl_oauthbearer_token_command"} <= names


@pytest.mark.parametrize(
    ("kind", "name"), CASES, ids=[f"{kind.__name__}-{name}" for kind, name in CASES]
)
def test_a_planted_secret_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: type[Any], name: str
) -> None:
    prefix = "kafka_" if kind is KafkaSecurity else ""
    file = tmp_path / "promptmill.toml"
    for value in VALUES:
        monkeypatch.setenv(f"PROMPTMILL_{prefix}{name}".upper(), value)
        assert SECRET not in what_is_shown(kind)
        monkeypatch.delenv(f"PROMPTMILL_{prefix}{name}".upper())
        file.write_text(f"{prefix}{name} = '''{value}'''\n")
        assert SECRET not in what_is_shown(kind)
        file.unlink()


async def test_a_redis_that_cannot_be_reached_shows_no_password() -> None:
    for value in VALUES:
        with pytest.raises(PromptmillError) as refusal:
            await check_server(value)
        assert SECRET not in shown(refusal.value)


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1", f"http://user:{SECRET}@127.0.0.1:1"])
def test_an_object_store_that_cannot_be_reached_shows_no_credential(
    monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    environment = {
        "AWS_ACCESS_KEY_ID": SECRET,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_SESSION_TOKEN": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ENDPOINT_URL": endpoint,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(PromptmillError) as refusal:
        TableHandle("s3://bucket/store/records").latest()
    text = shown(refusal.value)
    assert SECRET not in text
    if SECRET not in endpoint:
        assert "Generic S3 error: Error performing" in text
        assert "\x1b" not in str(refusal.value)


async def test_a_key_that_a_server_refuses_and_quotes_is_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PROMPTMILL_API_KEY", SECRET)
    refusing = status(401, f"Incorrect API key provided: {SECRET}")
    key = read_api_key(os.environ)
    log = written_log()
    async with BadServer(lambda _: refusing) as server:
        with pytest.raises(PromptmillError, match=r"provided: \*\*\*") as refusal:
            async with generating(server, api_key=key, start_limit_s=1):
                pass
    assert SECRET not in shown(refusal.value) + log.getvalue()
