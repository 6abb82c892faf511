from __future__ import annotations

from pathlib import Path

import pytest

from promptmill.devstack.broker import (
    Broker,
    broker_properties,
    log_properties,
    write_properties,
)

ONE = (Broker(1, 21_000, 21_001),)
THREE = (*ONE, Broker(2, 22_000, 22_001), Broker(3, 23_000, 23_001))


def of(broker: Broker, cluster: tuple[Broker, ...]) -> dict[str, str]:
    return broker_properties(broker, cluster, Path("/home/data"))


def test_servers_listen_on_loopback_only() -> None:
    listeners = of(THREE[1], THREE)["listeners"]
    assert listeners == "PLAINTEXT://127.0.0.1:22000,CONTROLLER://127.0.0.1:22001"


def test_a_single_broker_keeps_one_copy() -> None:
    settings = of(ONE[0], ONE)
    replicated = {name: value for name, value in settings.items() if "replication.factor" in name}
    assert len(replicated) == 4
    assert set(replicated.values()) == {"1"}
    assert {value for name, value in settings.items() if "isr" in name} == {"1"}


def test_three_brokers_keep_three_copies_two_of_them_in_step() -> None:
    settings = of(THREE[0], THREE)
    assert {v for name, v in settings.items() if "replication.factor" in name} == {"3"}
    assert {v for name, v in settings.items() if "isr" in name} == {"2"}
    voters = "1@127.0.0.1:21001,2@127.0.0.1:22001,3@127.0.0.1:23001"
    assert settings["controller.quorum.voters"] == voters


def test_all_brokers_of_a_cluster_agree_on_everything_but_themselves() -> None:
    first, second = of(THREE[0], THREE), of(THREE[1], THREE)
    differing = {name for name in first if first[name] != second[name]}
    assert differing == {"node.id", "listeners"}


def test_topics_are_never_made_by_accident_and_never_lose_acknowledged_records() -> None:
    settings = of(ONE[0], ONE)
    assert settings["auto.create.topics.enable"] == "false"
    assert settings["unclean.leader.election.enable"] == "false"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", "plain"),
        ("a b", "a b"),
        ("back\\slash", "back\\\\slash"),
        ("Müller", "M\\u00fcller"),
        ("工", "\\u5de5"),
        ("🏭", "\\ud83c\\udfed"),
        ("line\nbreak", "line\\u000abreak"),
    ],
)
def test_values_are_written_as_java_reads_them(value: str, written: str, tmp_path: Path) -> None:
    file = tmp_path / "test.properties"
    write_properties(file, {"key": value})
    assert file.read_text("ascii") == f"key={written}\n"


def test_the_log_file_is_bounded() -> None:
    settings = log_properties(Path("/home/logs/kafka-1.log"))
    assert settings["appender.file.policies.size.size"] == "10MB"
    assert settings["appender.file.strategy.max"] == "3"
