from __future__ import annotations

from pathlib import Path

import pytest

from promptmill.devstack.redis import BINARY_VARIABLE, find_binary, inspect_binary
from promptmill.runtime.errors import Misconfigured


def program(folder: Path, says: str, name: str = "redis-server") -> Path:
    """A program that answers ``--version``."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


NEW = "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=d81bff71cfb150e"
OLD = "Redis server v=5.0.7 sha=00000000:0 malloc=jemalloc-5.1.0 bits=64"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(BINARY_VARIABLE, raising=False)


def test_the_server_on_the_path_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = program(tmp_path / "bin", NEW)
    monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
    binary = find_binary()
    assert (binary.path, binary.version) == (path, (7, 0, 15))


@pytest.mark.parametrize("said", [OLD, "segmentation fault"])
def test_an_unusable_server_on_the_path_gives_way_to_the_packages(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = program(tmp_path / "bin", said)
    monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
    binary = find_binary()
    assert "valkey" in binary.path.name
    assert binary.version >= (9,)


def test_a_server_that_was_asked_for_is_used_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, old = program(tmp_path, NEW, "new"), program(tmp_path, OLD, "old")
    monkeypatch.setenv(BINARY_VARIABLE, str(new))
    assert find_binary().path == new
    monkeypatch.setenv(BINARY_VARIABLE, str(old))
    with pytest.raises(Misconfigured, match=r"old is Redis 5\.0\.7; promptmill needs 6\.2"):
        find_binary()
    monkeypatch.setenv(BINARY_VARIABLE, str(tmp_path / "absent"))
    with pytest.raises(Misconfigured, match="absent is not a Redis server that runs"):
        find_binary()


def test_a_program_that_fails_is_no_server(tmp_path: Path) -> None:
    path = program(tmp_path, NEW)
    path.write_text("#!/bin/sh\nexit 1\n")
    assert inspect_binary(path) is None
