"""``promptmill topics --plan`` says what a cluster needs, without asking one."""

from __future__ import annotations

import json

import pytest

from promptmill.cli.commands.topics import topics


@pytest.fixture(autouse=True)
def _prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTMILL_TOPIC_PREFIX", "team.")
    monkeypatch.delenv("PROMPTMILL_KAFKA", raising=False)


def test_the_plan_has_every_topic_with_replicas_and_settings(
    capsys: pytest.CaptureFixture[str],
) -> None:
    topics(brokers=3, partitions=6, plan=True, as_json=True)
    planned = json.loads(capsys.readouterr().out)
    first = planned["topics"][0]
    assert (first["name"], first["partitions"], first["replication"]) == ("team.prompts", 6, 3)
    assert first["settings"]["min.insync.replicas"] == "2"
    assert first["settings"]["cleanup.policy"] == "delete"


def test_a_stage_may_write_only_to_its_outputs_and_its_input(
    capsys: pytest.CaptureFixture[str],
) -> None:
    topics(plan=True, as_json=True)
    given = json.loads(capsys.readouterr().out)["rights"]
    written = {r["name"] for r in given if r["part"] == "reward" and "Write" in r["operations"]}
    assert written == {"team.completions", "team.scored", "team.dead-letters"}
    read = {r["name"] for r in given if r["part"] == "reward" and "Read" in r["operations"]}
    assert read == {"team.completions", "team.promptmill.reward"}


def test_people_get_one_line_for_each_need(capsys: pytest.CaptureFixture[str]) -> None:
    topics(brokers=3, plan=True)
    shown = capsys.readouterr().out
    assert "topic team.records partitions=48 replication=3 " in shown
    assert "right store: Describe, Read on Group team.promptmill.store" in shown
