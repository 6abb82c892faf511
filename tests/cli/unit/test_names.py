"""Commands and workers call topics and groups by the same names."""

from __future__ import annotations

import pytest

from promptmill.cli.run_status import STAGES
from promptmill.cli.settings import CommandSettings
from promptmill.filter.settings import FilterSettings
from promptmill.instruct.settings import InstructSettings
from promptmill.kafka.topics import topic_specs
from promptmill.reward.settings import RewardSettings
from promptmill.stream.stage_settings import StageSettings
from promptmill.worker.wiring import group_of
from promptmill_schemas import TOPICS

PREFIX = "team."


@pytest.mark.parametrize("worker", [InstructSettings, RewardSettings, FilterSettings])
def test_the_group_of_a_stage_is_the_one_its_workers_join(worker: type[StageSettings]) -> None:
    settings = CommandSettings(topic_prefix=PREFIX)
    assert worker.stage in STAGES
    assert settings.group(worker.stage) == group_of(worker(topic_prefix=PREFIX))


def test_the_prefix_of_workers_and_commands_is_one_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTMILL_TOPIC_PREFIX", PREFIX)
    assert CommandSettings().topic_prefix == InstructSettings().topic_prefix == PREFIX


def test_the_topics_that_up_creates_are_those_that_commands_use() -> None:
    settings = CommandSettings(topic_prefix=PREFIX)
    created = {spec.name for spec in topic_specs(PREFIX, brokers=3)}
    assert created == {settings.topic(topic) for topic in TOPICS}


@pytest.mark.parametrize(("brokers", "replication", "min_isr"), [(1, 1, 1), (3, 3, 2), (5, 3, 2)])
def test_three_brokers_keep_three_copies_with_two_in_step(
    brokers: int, replication: int, min_isr: int
) -> None:
    found = {(spec.replication, spec.min_isr) for spec in topic_specs("", brokers)}
    assert found == {(replication, min_isr)}
