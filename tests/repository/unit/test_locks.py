"""The locks are complete, agree with each other and with pyproject.toml, and name no index."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]
LOCKS = ROOT / "infra" / "locks"
INSTALLED_TOGETHER = {
    "without an engine": ["base.txt"],
    "CPU engine, small torch": ["base.txt", "engine-cpu.txt", "torch-cpu.txt"],
    "CPU engine, ordinary torch": ["base.txt", "engine-cpu.txt", "torch-cuda.txt"],
    "GPU engine": ["base.txt", "engine-gpu.txt"],
}


def pins(name: str) -> list[tuple[Requirement, list[str]]]:
    """The requirements of a lock, each with its hashes."""
    joined = (LOCKS / name).read_text().replace("\\\n", " ")
    found = []
    for line in filter(None, map(str.strip, joined.splitlines())):
        requirement, *hashes = re.split(r"\s+--hash=", line)
        found.append((Requirement(requirement), hashes))
    return found


def wanted(*extras: str) -> list[Requirement]:
    """What pyproject.toml asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    texts = [*project["dependencies"]]
    for extra in extras:
        texts += project["optional-dependencies"][extra]
    return [Requirement(text) for text in texts]


@pytest.mark.parametrize("lock", sorted(path.name for path in LOCKS.glob("*.txt")))
def test_no_lock_names_an_index(lock: str) -> None:
    text = (LOCKS / lock).read_text()
    assert "://" not in text
    assert not re.search(
        r"^\s*(-i|-f|--index-url|--extra-index-url|--find-links)\b", text, re.MULTILINE
    )


@pytest.mark.parametrize(
    "lock", sorted({name for group in INSTALLED_TOGETHER.values() for name in group})
)
def test_every_requirement_is_an_exact_pin_with_hashes(lock: str) -> None:
    for requirement, hashes in pins(lock):
        assert [clause.operator for clause in requirement.specifier] == ["=="], requirement
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in hashes), requirement


@pytest.mark.parametrize("locks", INSTALLED_TOGETHER.values(), ids=INSTALLED_TOGETHER)
@pytest.mark.parametrize("python", ["3.11.9", "3.12.9", "3.13.9"])
def test_what_is_installed_together_pins_each_package_once(locks: list[str], python: str) -> None:
    environment = {"python_full_version": python, "python_version": python.rsplit(".", 1)[0]}
    chosen = [
        requirement
        for name in locks
        for requirement, _ in pins(name)
        if requirement.marker is None or requirement.marker.evaluate(environment)
    ]
    names = [canonicalize_name(requirement.name) for requirement in chosen]
    assert len(names) == len(set(names)), sorted(n for n in set(names) if names.count(n) > 1)


@pytest.mark.parametrize(
    ("extras", "locks"),
    [
        (["local", "dev"], ["base.txt"]),
        (["cpu"], ["base.txt", "engine-cpu.txt", "torch-cuda.txt"]),
        (["cpu"], ["base.txt", "engine-cpu.txt", "torch-cpu.txt"]),
        (["gpu"], ["base.txt", "engine-gpu.txt"]),
    ],
)
def test_the_locks_hold_what_the_project_asks_for(extras: list[str], locks: list[str]) -> None:
    locked: dict[str, list[str]] = {}
    for name in locks:
        for requirement, _ in pins(name):
            version = next(iter(requirement.specifier)).version
            locked.setdefault(canonicalize_name(requirement.name), []).append(version)
    for requirement in wanted(*extras):
        versions = locked.get(canonicalize_name(requirement.name), [])
        assert versions, f"{requirement} is not locked: run scripts/lock"
        for version in versions:
            assert requirement.specifier.contains(version), f"{requirement}: locked {version}"


def test_both_builds_of_torch_are_the_same_release() -> None:
    (cpu,) = [r.specifier for r, _ in pins("torch-cpu.txt")]
    (cuda,) = [r.specifier for r, _ in pins("torch-cuda.txt") if r.name == "torch"]
    assert str(cpu) == f"{cuda}+cpu"
