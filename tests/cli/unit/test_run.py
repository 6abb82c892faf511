"""The workers of ``promptmill run --all``."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptmill.cli.commands.run import grace_of, specs

COUNTS = {"instruct": 2, "store": 1}


def memberships(home: str) -> list[str]:
    found = specs(COUNTS, {"instruct": ["--engine", "scripted"]}, Path(home))
    return [spec.arguments[spec.arguments.index("--instance-id") + 1] for spec in found]


def test_each_worker_keeps_a_membership_of_its_own_over_restarts() -> None:
    assert len(set(memberships("/srv/mill"))) == 3
    assert memberships("/srv/mill") == memberships("/srv/mill")


def test_workers_of_two_homes_on_one_cluster_do_not_fence_each_other() -> None:
    assert not set(memberships("/srv/mill")) & set(memberships("/srv/other"))


def test_flags_reach_the_workers_of_their_stage_only() -> None:
    first, second, store = specs(COUNTS, {"instruct": ["--engine", "scripted"]}, Path("/srv"))
    assert [spec.name for spec in (first, second, store)] == ["instruct-0", "instruct-1", "store-0"]
    assert first.arguments[-2:] == second.arguments[-2:] == ["--engine", "scripted"]
    assert "--engine" not in store.arguments


def test_the_supervisor_waits_as_long_as_the_workers_take_to_drain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PROMPTMILL_GRACE_S", "60")
    monkeypatch.setenv("PROMPTMILL_STORE_GRACE_S", "90")
    assert (grace_of("instruct"), grace_of("store")) == (60, 90)
