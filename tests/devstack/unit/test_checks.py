from __future__ import annotations

from pathlib import Path

import pytest

from promptmill.devstack import checks
from promptmill.devstack.checks import Finding, check_local_stack


def findings(home: Path) -> dict[str, Finding]:
    return {finding.name: finding for finding in check_local_stack(home)}


def test_everything_that_up_needs_is_looked_at_and_nothing_is_made(tmp_path: Path) -> None:
    found = findings(tmp_path / "home")
    assert list(found) == [
        "Java runtime",
        "Kafka jars",
        "Redis server",
        "home folder",
        "free disk space",
    ]
    assert found["Java runtime"].ok
    assert "25" in found["Java runtime"].detail
    assert found["Redis server"].ok
    assert list(tmp_path.iterdir()) == []


def test_missing_jars_are_no_failure_and_are_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    jars = findings(tmp_path)["Kafka jars"]
    assert jars.ok
    assert "46 of 46 jars (45 MB)" in jars.detail
    assert "promptmill up" in jars.remedy


def test_an_unusable_redis_is_a_failure_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMPTMILL_REDIS_SERVER", "/no/such/server")
    found = findings(tmp_path)["Redis server"]
    assert not found.ok
    assert "/no/such/server" in found.detail
    assert "redis-server 6.2" in found.remedy


def test_a_home_that_is_a_file_is_a_failure(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("in the way")
    found = findings(home)["home folder"]
    assert not found.ok
    assert "PROMPTMILL_HOME" in found.remedy


def test_a_full_disk_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_FREE_BYTES", 10**18)
    found = findings(tmp_path)["free disk space"]
    assert not found.ok
    assert "free at least" in found.remedy
