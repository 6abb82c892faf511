from __future__ import annotations

import os
import ssl
from pathlib import Path
from types import SimpleNamespace

import pytest

from promptmill.devstack import maven


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PROMPTMILL_MAVEN_REPOSITORY"):
        monkeypatch.delenv(name, raising=False)


def trusted(
    monkeypatch: pytest.MonkeyPatch, cafile: Path | None, capath: Path | None
) -> str | None:
    """What requests is told while jars are downloaded."""
    paths = SimpleNamespace(
        cafile=str(cafile) if cafile else None, capath=str(capath) if capath else None
    )
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    with maven.system_certificates():
        return os.environ.get("REQUESTS_CA_BUNDLE")


def test_the_machines_certificates_are_trusted_while_jars_are_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, folder = tmp_path / "cert.pem", tmp_path / "certs"
    folder.mkdir()
    assert trusted(monkeypatch, file, folder) == str(file)
    assert trusted(monkeypatch, None, folder) is None, "an empty folder would trust nobody"
    (folder / "0a1b2c3d.0").touch()
    assert trusted(monkeypatch, None, folder) == str(folder)
    assert trusted(monkeypatch, None, None) is None
    assert "REQUESTS_CA_BUNDLE" not in os.environ


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_certificates_that_the_user_chose_stay(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "/chosen")
    before = dict(os.environ)
    trusted(monkeypatch, tmp_path / "cert.pem", None)
    assert dict(os.environ) == before


def test_a_mirror_replaces_the_other_repositories(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(maven.repositories()) >= 1
    monkeypatch.setenv("PROMPTMILL_MAVEN_REPOSITORY", "https://smith:hammer@mirror.test/maven2/")
    assert list(maven.repositories().values()) == ["https://smith:hammer@mirror.test/maven2"]
    assert maven.describe_repositories() == "mirror.test"


def test_repositories_of_the_jgo_configuration_are_asked_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "jgo.conf"
    config.write_text("[repositories]\nforge = https://forge.test/maven\n")
    monkeypatch.setenv("JGO_CONFIG_FILE", str(config))
    maven._configured_repositories.cache_clear()
    try:
        assert maven.repositories()["forge"] == "https://forge.test/maven"
        assert next(iter(maven.repositories())) == "central"
    finally:
        maven._configured_repositories.cache_clear()
