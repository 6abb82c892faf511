from __future__ import annotations

import gc
import hashlib
import re
import ssl
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from promptmill.devstack import jars
from promptmill.devstack.jars import (
    DownloadProgress,
    Jar,
    kafka_version,
    locked_jars,
    missing_jars,
    parse_lock,
    resolve_jars,
)
from promptmill.devstack.ports import free_port
from promptmill.runtime.errors import Misconfigured

# requests leaves the connection open when the server answers 404, until it is collected as garbage.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        pass


def _jar(artifact: str, content: bytes) -> Jar:
    return Jar("org.example", artifact, "1.0", len(content), hashlib.sha256(content).hexdigest())


JARS = (_jar("anvil", b"anvil's bytes"), _jar("bellows", b"bellows' bytes" * 50_000))
CONTENTS = {"anvil": b"anvil's bytes", "bellows": b"bellows' bytes" * 50_000}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A Maven repository on loopback that has both jars; the folder behind it."""
    root = tmp_path / "repository"
    for jar in JARS:
        file = root / jar.repository_path
        file.parent.mkdir(parents=True)
        file.write_bytes(CONTENTS[jar.artifact])
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(root)))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    monkeypatch.setenv("PROMPTMILL_MAVEN_REPOSITORY", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("M2_REPO", str(tmp_path / "no-user-repository"))
    yield root
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        gc.collect()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"http://smith:hammer@127.0.0.1:{free_port()}/maven"
    monkeypatch.setenv("PROMPTMILL_MAVEN_REPOSITORY", url)
    monkeypatch.setenv("M2_REPO", str(tmp_path / "no-user-repository"))
    monkeypatch.setattr(jars, "_RETRIES", 0)


def test_the_lock_names_the_broker_and_its_log_binding_and_no_address() -> None:
    artifacts = {jar.artifact for jar in locked_jars()}
    assert {"kafka_2.13", "kafka-clients", "log4j-core", "log4j-slf4j-impl"} <= artifacts
    assert kafka_version(locked_jars()) == "4.3.1"
    assert len(artifacts) == len(locked_jars())
    text = Path("services/promptmill/devstack/kafka_jars.lock").read_text("utf-8")
    assert not re.search(r"https?:|//|\.(com|org)/", text)


@pytest.mark.parametrize(
    "line", ["org.example:anvil:1.0 12", "org.example:anvil 12 " + "a" * 64, "anvil", "a:b:c 1 zz"]
)
def test_a_damaged_lock_is_refused_with_its_line(line: str) -> None:
    with pytest.raises(Misconfigured, match=r"line 2: .*scripts/lock-kafka-jars"):
        parse_lock(f"# comment\n{line}\n")


def test_missing_jars_are_downloaded_and_progress_is_told_in_bytes(
    repository: Path, tmp_path: Path
) -> None:
    told: list[DownloadProgress] = []
    classpath = resolve_jars(tmp_path / "cache", JARS, told.append)
    assert [path.read_bytes() for path in classpath] == list(CONTENTS.values())
    total = sum(jar.size for jar in JARS)
    assert (told[0].done, told[-1].done) == (0, total)
    assert {(progress.total, progress.unit) for progress in told} == {(total, "bytes")}
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [
        "anvil-1.0.jar",
        "bellows-1.0.jar",
    ]


@pytest.mark.usefixtures("offline")
def test_verified_jars_need_no_network(tmp_path: Path) -> None:
    for jar in JARS:
        (tmp_path / jar.filename).write_bytes(CONTENTS[jar.artifact])
    told: list[DownloadProgress] = []
    assert len(resolve_jars(tmp_path, JARS, told.append)) == len(JARS)
    assert told == []


def test_a_jar_of_the_right_size_and_other_bytes_is_fetched_again(
    repository: Path, tmp_path: Path
) -> None:
    first, second = resolve_jars(tmp_path / "cache", JARS)
    second.write_bytes(b"x" * JARS[1].size)
    assert missing_jars(tmp_path / "cache", JARS) == (JARS[1],)
    untouched = first.stat().st_mtime_ns
    resolve_jars(tmp_path / "cache", JARS)
    assert second.read_bytes() == CONTENTS["bellows"]
    assert first.stat().st_mtime_ns == untouched


def test_bytes_that_differ_from_the_lock_are_refused_and_not_kept(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jars, "_RETRIES", 0)
    wanted = (JARS[0], replace(JARS[1], sha256="0" * 64))
    with pytest.raises(Misconfigured, match=r"bellows-1\.0\.jar .*the lock expects .*0{64}"):
        resolve_jars(tmp_path / "cache", wanted)
    assert not (tmp_path / "cache" / "bellows-1.0.jar").exists()


def test_a_jar_that_the_repository_lacks_is_named(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jars, "_RETRIES", 0)
    with pytest.raises(Misconfigured, match=r"cannot download chisel-1\.0\.jar from 127\.0\.0\.1"):
        resolve_jars(tmp_path / "cache", [_jar("chisel", b"")])


@pytest.mark.usefixtures("offline")
def test_without_a_network_the_error_has_remedies_and_no_password(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as caught:
        resolve_jars(tmp_path / "cache", JARS)
    text = str(caught.value)
    assert "PROMPTMILL_MAVEN_REPOSITORY" in text
    assert "HTTPS_PROXY" in text
    assert "hammer" not in text


@pytest.mark.usefixtures("offline")
def test_the_users_own_maven_repository_is_used_if_its_bytes_are_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    for jar in JARS:
        file = own / jar.repository_path
        file.parent.mkdir(parents=True)
        file.write_bytes(CONTENTS[jar.artifact])
    monkeypatch.setenv("M2_REPO", str(own))
    resolve_jars(tmp_path / "cache", JARS)
    assert missing_jars(tmp_path / "cache", JARS) == ()


def test_a_failed_attempt_is_repeated(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = repository / JARS[0].repository_path
    hidden = file.rename(file.with_suffix(".hidden"))
    monkeypatch.setattr("time.sleep", lambda pause: pause and hidden.replace(file))
    resolve_jars(tmp_path / "cache", JARS[:1])
    assert missing_jars(tmp_path / "cache", JARS[:1]) == ()


@pytest.mark.usefixtures("offline")
def test_a_cache_that_cannot_be_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Misconfigured, match="XDG_CACHE_HOME"):
        resolve_jars(tmp_path / "file" / "cache", JARS)


def test_a_mirror_replaces_maven_central(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROMPTMILL_MAVEN_REPOSITORY", raising=False)
    assert jars.repository() == "https://repo1.maven.org/maven2"
    monkeypatch.setenv("PROMPTMILL_MAVEN_REPOSITORY", "https://smith:hammer@mirror.test/maven2/")
    assert jars.repository() == "https://smith:hammer@mirror.test/maven2"
    assert jars._host() == "mirror.test"


def trusted(
    monkeypatch: pytest.MonkeyPatch, cafile: Path | None, capath: Path | None
) -> str | bool:
    """What is trusted on a machine that keeps its certificates there."""
    paths = SimpleNamespace(
        cafile=str(cafile) if cafile else None, capath=str(capath) if capath else None
    )
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    return jars.certificates()


def test_the_machines_certificates_are_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    file, folder = tmp_path / "cert.pem", tmp_path / "certs"
    folder.mkdir()
    assert trusted(monkeypatch, file, folder) == str(file)
    assert trusted(monkeypatch, None, folder) is True, "an empty folder would trust nobody"
    (folder / "0a1b2c3d.0").touch()
    assert trusted(monkeypatch, None, folder) == str(folder)
    assert trusted(monkeypatch, None, None) is True


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_certificates_that_the_user_chose_stay(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "/chosen")
    assert trusted(monkeypatch, tmp_path / "cert.pem", None) is True, "requests reads the variable"


def test_a_cache_that_a_class_path_cannot_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="class path"):
        resolve_jars(tmp_path / "a:b", JARS)
