"""``promptmill schemas --register`` against a registry that answers as Confluent's does."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote

import pytest
from jsonschema import Draft202012Validator

from promptmill_schemas import TOPICS
from support.commands import Promptmill

PLANTED = "planted-password"


@dataclass
class StubRegistry:
    """What the registry was sent, and how it answers."""

    url: str = ""
    status: int = 200
    body: bytes = b""
    posted: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    ids: dict[str, int] = field(default_factory=dict)

    def answer(self, path: str, body: dict[str, Any], login: str) -> bytes:
        """Take a schema; the same one has the same id again."""
        self.posted.append((path, body))
        self.logins.append(login)
        number = self.ids.setdefault(body["schema"], len(self.ids) + 1)
        return self.body or json.dumps({"id": number}).encode()


@pytest.fixture
def registry() -> Iterator[StubRegistry]:
    stub = StubRegistry()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Content-Type"] == "application/vnd.schemaregistry.v1+json"
            login = self.headers.get("Authorization", "")
            answer = stub.answer(unquote(self.path), json.loads(content), login)
            self.send_response(stub.status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    stub.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield stub
    server.shutdown()
    thread.join()
    server.server_close()


def test_each_topic_has_its_schema_under_its_name(
    promptmill: Promptmill, registry: StubRegistry
) -> None:
    done = promptmill("schemas", "--register", f"{registry.url}/", "--json")
    assert done.code == 0
    names = [f"{topic.name}-value" for topic in TOPICS]
    assert [path for path, _ in registry.posted] == [f"/subjects/{n}/versions" for n in names]
    assert [each["subject"] for each in done.json["subjects"]] == names
    assert [each["id"] for each in done.json["subjects"]] == [1, 2, 3, 4, 5, 6]
    for _, body in registry.posted:
        assert set(body) == {"schemaType", "schema"}
        assert body["schemaType"] == "JSON"
        Draft202012Validator.check_schema(json.loads(body["schema"]))
    assert registry.logins == [""] * len(TOPICS)


def test_registering_again_gives_the_same_ids(
    promptmill: Promptmill, registry: StubRegistry
) -> None:
    first, second = (promptmill("schemas", "--register", registry.url).out for _ in range(2))
    assert first == second
    assert "prompts-value  id 1" in first


def test_a_dry_run_sends_nothing(promptmill: Promptmill, registry: StubRegistry) -> None:
    done = promptmill("schemas", "--register", registry.url, "--dry-run", "--json")
    assert (done.code, registry.posted) == (0, [])
    assert [each["id"] for each in done.json["subjects"]] == [None] * len(TOPICS)
    assert promptmill("schemas", "--dry-run").code != 0


@pytest.mark.parametrize("way", ["environment", "file"])
def test_the_login_comes_from_the_environment_or_a_file(
    promptmill: Promptmill,
    registry: StubRegistry,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    way: str,
) -> None:
    monkeypatch.setenv("PROMPTMILL_TOPIC_PREFIX", "team.")
    monkeypatch.setenv("PROMPTMILL_SCHEMA_REGISTRY_USERNAME", "key")
    if way == "file":
        (tmp_path / "password").write_text(f"{PLANTED}\n")
        monkeypatch.setenv("PROMPTMILL_SCHEMA_REGISTRY_PASSWORD_FILE", str(tmp_path / "password"))
    else:
        monkeypatch.setenv("PROMPTMILL_SCHEMA_REGISTRY_PASSWORD", PLANTED)
    done = promptmill("schemas", "--register", registry.url)
    assert done.code == 0
    assert PLANTED not in done.out + done.err
    assert {b64decode(login.removeprefix("Basic ")) for login in registry.logins} == {
        f"key:{PLANTED}".encode()
    }
    assert registry.posted[0][0] == "/subjects/team.prompts-value/versions"


@pytest.mark.parametrize(
    ("status", "code", "remedy"),
    [
        (401, 78, "PROMPTMILL_SCHEMA_REGISTRY_PASSWORD"),
        (403, 78, "allow this user"),
        (404, 78, "base URL"),
        (409, 78, "compatibility of the subject to FORWARD"),
        (422, 78, "2020-12"),
        (500, 75, "try again later"),
    ],
)
def test_a_refusal_says_which_subject_why_and_what_to_do(
    promptmill: Promptmill,
    registry: StubRegistry,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    code: int,
    remedy: str,
) -> None:
    monkeypatch.setenv("PROMPTMILL_SCHEMA_REGISTRY_USERNAME", "key")
    monkeypatch.setenv("PROMPTMILL_SCHEMA_REGISTRY_PASSWORD", PLANTED)
    registry.status = status
    registry.body = json.dumps({"error_code": status, "message": "its own\x1b[2J words"}).encode()
    done = promptmill("schemas", "--register", registry.url)
    assert done.code == code
    (line,) = done.err.splitlines()
    assert "prompts-value" in line
    assert "words" in line
    assert remedy in line
    assert "\x1b" not in line
    assert PLANTED not in line


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"id": "1"}', b'{"id": true}'])
def test_an_answer_without_an_id_is_no_registration(
    promptmill: Promptmill, registry: StubRegistry, body: bytes
) -> None:
    registry.body = body
    done = promptmill("schemas", "--register", registry.url)
    assert done.code == 78
    assert "Confluent's API" in done.err


def test_a_registry_that_does_not_answer_is_named(
    promptmill: Promptmill, registry: StubRegistry
) -> None:
    done = promptmill("schemas", "--register", "http://127.0.0.1:9")
    assert done.code == 75
    assert "http://127.0.0.1:9 does not answer" in done.err


@pytest.mark.parametrize("url", ["registry:8081", "ftp://registry", "http://", "http://h:port"])
def test_what_is_no_url_is_refused(promptmill: Promptmill, url: str) -> None:
    done = promptmill("schemas", "--register", url)
    assert done.code == 78
    assert "http://HOST:PORT" in done.err


def test_a_password_in_the_url_is_refused_and_not_shown(promptmill: Promptmill) -> None:
    done = promptmill("schemas", "--register", f"http://user:{PLANTED}@registry:8081")
    assert done.code == 78
    assert "PROMPTMILL_SCHEMA_REGISTRY_PASSWORD" in done.err
    assert PLANTED not in done.err
